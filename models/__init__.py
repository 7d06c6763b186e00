"""The zoo: one file per model/guide pair."""

if __name__ != "vaezoo.models":
    raise ImportError("import the zoo as 'vaezoo.models'")
