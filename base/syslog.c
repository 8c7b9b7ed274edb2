/*
 * Lines for the machine's system log: a datagram each to /dev/log, as RFC 3164 has it. The socket
 * is not connected, so that a log daemon that is started anew is found again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

#define SEND_TIMEOUT_S 1                /* a daemon that does not listen must not stop us */

static int sender(void)
{
	static int fd = -1;
	struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };

	if (fd < 0) {
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	}
	return fd;
}

/* The months' names are English whatever the locale. */
static int header(char *out, size_t size, enum log_level level)
{
	static const int severity[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	return snprintf(out, size, "<%d>%s %2d %02d:%02d:%02d tdispatch[%d]: ", LOG_DAEMON | severity[level],
		months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)getpid());
}

const char *syslog_send(enum log_level level, struct span text)
{
	static bool failing;            /* after a failure nobody is waited for */
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	char head[64];
	struct iovec parts[] = {
		{ .iov_base = head, .iov_len = (size_t)header(head, sizeof head, level) },
		{ .iov_base = (void *)(uintptr_t)text.p, .iov_len = text.n },
	};
	struct msghdr message = { .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = parts, .msg_iovlen = 2 };

	failing = sendmsg(sender(), &message, MSG_NOSIGNAL | (failing ? MSG_DONTWAIT : 0)) < 0;
	return failing ? strerror(errno) : NULL;
}
