"""Which preset to take: by memory, then by speed."""
