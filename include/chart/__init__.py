"""What a chart renders to, and whether it can be released blue-green: values in, findings out, no I/O."""
