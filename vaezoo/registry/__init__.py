"""Model/guide pairs by name, by file and by import path, without importing torch to list them."""

from vaezoo.registry.catalogue import (
    Entry,
    appendix_of,
    entries,
    entry_of,
    list_models,
    register,
)
from vaezoo.registry.citations import citation_of
from vaezoo.registry.files import (
    blaming_file,
    code_of,
    name_in_file,
    naming_place,
    owner_of,
    source_file,
)
from vaezoo.registry.lookup import class_in_file, get_model, target_of
from vaezoo.registry.project import Code, digest_of, read_code

__all__ = [
    "Code",
    "Entry",
    "appendix_of",
    "blaming_file",
    "citation_of",
    "class_in_file",
    "code_of",
    "digest_of",
    "entries",
    "entry_of",
    "get_model",
    "list_models",
    "name_in_file",
    "naming_place",
    "owner_of",
    "read_code",
    "register",
    "source_file",
    "target_of",
]
