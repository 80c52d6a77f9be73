"""The kind `measure`: quantities of stored models, alone, in pairs and in groups."""
