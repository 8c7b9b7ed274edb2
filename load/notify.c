/*
 * What a service manager is told: systemd's notifications, one datagram each to the socket that
 * NOTIFY_SOCKET names. Without it nothing is done.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"

#define SEND_TIMEOUT_S 1                /* a manager that does not listen must not stop us */

bool notify_wanted(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && *path;
}

/* '@' stands for the first byte of a name in the abstract namespace, which is no C string. 0 when
 * it is neither such a name nor a path, or too long for one. */
static socklen_t address_of(struct sockaddr_un *address, const char *path)
{
	size_t n = strlen(path);

	if ((*path != '/' && *path != '@') || n >= sizeof address->sun_path)
		return 0;
	memcpy(address->sun_path, path, n);
	if (*path == '@')
		address->sun_path[0] = 0;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

void notify_send(const char *text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
	socklen_t n = notify_wanted() ? address_of(&address, getenv("NOTIFY_SOCKET")) : 0;
	int fd = n ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, n) < 0)
		log_debug("NOTIFY_SOCKET: cannot send %s", text);
	close(fd);
}

int64_t notify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!notify_wanted() || !usec || (pid && strtoll(pid, NULL, 10) != getpid()))
		return 0;
	int64_t half_ms = strtoll(usec, NULL, 10) / 2000;
	return half_ms > 0 ? half_ms : 0;
}
