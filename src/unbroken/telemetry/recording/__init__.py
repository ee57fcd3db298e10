"""What passed on the wire, recorded: to a file, or in a ring until a stream fails."""
