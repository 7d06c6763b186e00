"""What can be known of any model/guide pair from its sites."""
