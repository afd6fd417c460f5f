"""The local AWS and the whole stage that runs on it."""
