"""One pass over a recording: from its lines to a report, in bounded memory."""
