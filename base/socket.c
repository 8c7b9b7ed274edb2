/*
 * Addresses to listen on, of the kinds that a config names: numeric ones with a port, so that no
 * name server is asked, and paths of Unix sockets.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base.h"

#define BACKLOG 16                      /* connections that wait to be accepted */

static bool parse_port(const char *host, const char *port, struct socket_address *a)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *found;
	size_t n = strlen(port);

	if (!*host || !n || n > 5 || strspn(port, "0123456789") != n || atoi(port) > 65535 ||
	    getaddrinfo(host, port, &hints, &found) != 0)
		return false;
	memcpy(&a->to, found->ai_addr, found->ai_addrlen);
	a->n = found->ai_addrlen;
	freeaddrinfo(found);
	return atoi(port) > 0;
}

bool socket_address(const char *text, struct socket_address *a)
{
	struct sockaddr_un *local = (struct sockaddr_un *)&a->to;
	const char *colon = strrchr(text, ':');
	char host[64];

	*a = (struct socket_address){ 0 };
	if (*text == '/') {
		if (strlen(text) >= sizeof local->sun_path)
			return false;
		local->sun_family = AF_UNIX;
		strcpy(local->sun_path, text);
		a->n = sizeof *local;
		return true;
	}
	bool brackets = *text == '[' && colon && colon > text + 1 && colon[-1] == ']';
	size_t n = colon ? (size_t)(colon - text) - 2 * brackets : 0;
	if (!colon || n >= sizeof host || (!brackets && memchr(text, ':', n)))
		return false;
	memcpy(host, text + brackets, n);
	host[n] = 0;
	return parse_port(host, colon + 1, a);
}

/* Removes the socket that a killed process left: nobody answers there. */
static void remove_stale(const struct socket_address *a)
{
	const char *path = ((const struct sockaddr_un *)&a->to)->sun_path;
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(fd, (const struct sockaddr *)&a->to, a->n) < 0 && errno == ECONNREFUSED)
		unlink(path);
	close(fd);
}

int socket_listen(const struct socket_address *a)
{
	int family = a->to.ss_family, on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (family == AF_UNIX)
		remove_stale(a);
	else
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)&a->to, a->n) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}
