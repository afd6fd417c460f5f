"""Radgate's product code: everything that ships in the Lambda function."""
