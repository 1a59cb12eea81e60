"""Airflow's face on imagemill."""
