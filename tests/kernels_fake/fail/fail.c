fake: fail
