"""Amazon Bedrock: ConverseStream, and InvokeModel with a provider's own events inside."""
