"""An artifact beside its model: what is compared, and the certificate of it."""
