"""What we promise. The folders mirror cds_service/; house/ holds what is true of the code as a whole."""
