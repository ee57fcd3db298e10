"""Real servers, real SDKs: what the faults look like with nothing of ours between."""
