"""Many trainings and many images, on one machine or many, with Ray."""
