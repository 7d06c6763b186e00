"""Does a pair keep the contract? The checks that training, and ``vaezoo check``, ask alike."""
