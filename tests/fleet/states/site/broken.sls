{{ this is no template
