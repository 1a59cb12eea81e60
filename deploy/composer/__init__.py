"""Puts imagemill into a Cloud Composer environment: `python -m deploy.composer`. docs/composer.md says how."""
