fake: noop by the name of measure
