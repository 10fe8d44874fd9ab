"""Who may see and do what: links, logins, checks of each request, sockets and connections."""
