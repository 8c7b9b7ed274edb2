/*
 * Addresses to listen on, of the kinds that a config names: numeric ones with a port, so that no
 * name server is asked, and paths of Unix sockets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base.h"

#define BACKLOG 64                      /* connections that wait to be accepted */

/* A port, 1 to 65535; 0: it is none. */
static int parse_port(const char *text)
{
	size_t n = strlen(text);
	int port = n <= 5 && strspn(text, "0123456789") == n ? atoi(text) : 0;

	return port <= 65535 ? port : 0;
}

static bool parse_local(const char *path, struct socket_address *a)
{
	struct sockaddr_un *to = (struct sockaddr_un *)&a->to;

	if (strlen(path) >= sizeof to->sun_path)
		return false;
	to->sun_family = AF_UNIX;
	strcpy(to->sun_path, path);
	a->n = sizeof *to;
	return true;
}

static bool parse_ipv4(const char *host, in_port_t port, struct socket_address *a)
{
	struct sockaddr_in *to = (struct sockaddr_in *)&a->to;

	to->sin_family = AF_INET;
	to->sin_port = port;
	a->n = sizeof *to;
	return inet_pton(AF_INET, host, &to->sin_addr) == 1;
}

static bool parse_ipv6(const char *host, in_port_t port, struct socket_address *a)
{
	struct sockaddr_in6 *to = (struct sockaddr_in6 *)&a->to;

	to->sin6_family = AF_INET6;
	to->sin6_port = port;
	a->n = sizeof *to;
	return inet_pton(AF_INET6, host, &to->sin6_addr) == 1;
}

bool socket_address(const char *text, struct socket_address *a)
{
	const char *colon = strrchr(text, ':');
	int port = colon ? parse_port(colon + 1) : 0;
	char host[INET6_ADDRSTRLEN + 2];        /* with its brackets */
	size_t n = colon ? (size_t)(colon - text) : 0;

	*a = (struct socket_address){ 0 };
	if (*text == '/')
		return parse_local(text, a);
	if (!port || !n || n >= sizeof host)
		return false;
	memcpy(host, text, n);
	host[n] = 0;
	if (*host != '[')
		return parse_ipv4(host, htons((uint16_t)port), a);
	bool closed = host[n - 1] == ']';
	host[n - 1] = 0;
	return closed && parse_ipv6(host + 1, htons((uint16_t)port), a);
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
	mode_t mask = umask(0111);      /* its folder says who can reach it */
	int rc = bind(fd, (const struct sockaddr *)&a->to, a->n);
	umask(mask);
	if (rc == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}
