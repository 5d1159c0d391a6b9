"""A grid search that fits nothing twice, equal to GridSearchCV's."""
