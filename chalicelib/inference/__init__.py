"""Everything between image bytes and findings; torch and numpy live here and nowhere else."""
