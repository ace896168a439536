"""Extensions: networks, data sets and methods of users, of timm and of installed packages."""
