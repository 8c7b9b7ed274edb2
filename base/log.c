/*
 * Where log lines go. A line is one write(2), so that lines of two processes do not mix and a
 * crash loses none. A log that cannot be written (disk full) does not stop the loading of rows.
 *
 * A line for the system log is a datagram to /dev/log in the format of RFC 3164. The socket is not
 * connected, so that a restarted log daemon is found again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

/* ---- the machine's system log */

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

/* Month names are English in every locale. */
static int header(char *out, size_t size, enum log_level level)
{
	static const int severity[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
		"Sep", "Oct", "Nov", "Dec" };
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	return snprintf(out, size, "<%d>%s %2d %02d:%02d:%02d tdispatch[%d]: ",
		LOG_DAEMON | severity[level], months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min,
		tm.tm_sec, (int)getpid());
}

/* With facility daemon. NULL, or why /dev/log did not accept it. */
static const char *send_syslog(enum log_level level, struct span text)
{
	static bool failing;            /* after a failure: do not wait */
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	char head[64];
	struct iovec parts[] = {
		{ .iov_base = head, .iov_len = (size_t)header(head, sizeof head, level) },
		{ .iov_base = (void *)(uintptr_t)text.p, .iov_len = text.n },
	};
	struct msghdr message = { .msg_name = &address, .msg_namelen = sizeof address,
		.msg_iov = parts, .msg_iovlen = 2 };

	failing = sendmsg(sender(), &message, MSG_NOSIGNAL | (failing ? MSG_DONTWAIT : 0)) < 0;
	return failing ? strerror(errno) : NULL;
}

/* ---- log lines */

#define LINE_BYTES 4096                 /* a longer line is truncated */

static struct {
	char job[128];
	enum log_level level;
	int fd;                         /* of the log file, or -1 */
	char *path;
	int64_t max_bytes, bytes;
	int keep;
	bool json;
	bool syslog, syslog_failed;
	bool status;                    /* log_status has drawn a line */
	int forward;                    /* of log_forward, or -1 */
} logger = { .job = "tdispatch", .level = LVL_INFO, .fd = -1, .forward = -1 };

void log_setup(const char *job, enum log_level level, bool json)
{
	snprintf(logger.job, sizeof logger.job, "%s", job);
	logger.level = level;
	logger.json = json;
}

static int open_file(const char *path, const char **why)
{
	struct stat st;
	int fd = file_open(path, O_WRONLY | O_APPEND, why);

	if (fd >= 0)
		logger.bytes = fstat(fd, &st) == 0 ? st.st_size : 0;
	return fd;
}

static void close_log(void)
{
	if (logger.fd >= 0)
		close(logger.fd);
	free(logger.path);
	logger.fd = -1;
	logger.path = NULL;
	logger.syslog = false;
}

static int open_path(const char *path, char *why, size_t why_size)
{
	const char *reason;
	int fd = open_file(path, &reason);

	if (fd < 0) {
		snprintf(why, why_size, "cannot write log file %s: %s", path, reason);
		return -1;
	}
	char *copy = strdup(path);
	if (!copy) {
		snprintf(why, why_size, "cannot write log file %s: out of memory", path);
		close(fd);
		return -1;
	}
	close_log();
	logger.fd = fd;
	logger.path = copy;
	return 0;
}

int log_open(const char *where, int64_t max_bytes, int keep, char *why, size_t why_size)
{
	logger.max_bytes = max_bytes;
	logger.keep = keep;
	if (where && strcmp(where, "syslog") != 0)
		return open_path(where, why, why_size);
	close_log();
	logger.syslog = where != NULL;
	return 0;
}

static void rotate(void)
{
	char from[4096], to[4096];
	const char *why;

	for (int i = logger.keep; i > 0; i--) {
		if (i > 1)
			snprintf(from, sizeof from, "%s.%d", logger.path, i - 1);
		else
			snprintf(from, sizeof from, "%s", logger.path);
		snprintf(to, sizeof to, "%s.%d", logger.path, i);
		rename(from, to);
	}
	int fd = open_file(logger.path, &why);
	if (fd >= 0) {
		close(logger.fd);
		logger.fd = fd;
	}
	logger.bytes = 0;       /* after a failure too: try again a file's length later */
}

void log_status(const char *line)
{
	char text[LINE_BYTES];
	int n = snprintf(text, sizeof text, "\r%s\033[K", line ? line : "");

	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		line = NULL;            /* the terminal is gone */
	logger.status = line != NULL;
}

static void write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		p += done;
		n -= (size_t)done;
	}
}

/* *body: offset of the part after time and pid, which the system log adds itself. */
static size_t format_line(char *line, size_t *body, enum log_level level, const char *fmt,
	va_list ap)
{
	static const char *const names[] = { "ERROR", "WARNING", "INFO", "DEBUG", "TRACE" };
	char text[LINE_BYTES];
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = strftime(line, LINE_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, LINE_BYTES - n, ",%03ld %d ", now.tv_nsec / 1000000,
		(int)getpid());
	*body = n;
	n += (size_t)snprintf(line + n, LINE_BYTES - n, "%s %s: ", names[level], logger.job);
	vsnprintf(text, sizeof text, fmt, ap);
	n += text_line(line + n, LINE_BYTES - n - 1, (struct span){ text, strlen(text) });
	line[n++] = '\n';
	return n;
}

/* Members and their order are fixed: programs read them. */
static size_t format_json(char *line, size_t *body, enum log_level level, const char *fmt,
	va_list ap)
{
	static const char *const names[] = { "error", "warning", "info", "debug", "trace" };
	static const char end[] = "\"}\n";
	char text[LINE_BYTES], when[32];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
	vsnprintf(text, sizeof text, fmt, ap);
	size_t n = (size_t)sprintf(line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"job\":\"",
		when, now.tv_nsec / 1000000, names[level]);
	n += text_json(line + n, TEXT_GROWTH * sizeof logger.job,
		(struct span){ logger.job, strlen(logger.job) });
	n += (size_t)sprintf(line + n, "\",\"pid\":%d,\"msg\":\"", (int)getpid());
	n += text_json(line + n, LINE_BYTES - n - strlen(end), (struct span){ text, strlen(text) });
	memcpy(line + n, end, strlen(end));
	*body = 0;
	return n + strlen(end);
}

/* true: the line is delivered; false: write it to standard error too. */
static bool line_to_syslog(enum log_level level, const char *body, size_t n)
{
	const char *why = send_syslog(level, (struct span){ body, n });

	if (why && !logger.syslog_failed)
		dprintf(STDERR_FILENO, "tdispatch: cannot write to /dev/log: %s; lines go to"
			" standard error until it can\n", why);
	logger.syslog_failed = why != NULL;
	return !why && !isatty(STDERR_FILENO);
}

/* A packet is the level, as a letter, and the text. */
static void forward(enum log_level level, const char *fmt, va_list ap)
{
	char text[LINE_BYTES];

	text[0] = (char)('0' + level);
	int n = vsnprintf(text + 1, sizeof text - 1, fmt, ap);
	if (n >= (int)sizeof text - 1)
		n = sizeof text - 2;
	if (n >= 0)
		send(logger.forward, text, (size_t)n + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void log_line(enum log_level level, const char *fmt, va_list ap)
{
	char line[LINE_BYTES];
	size_t body;
	int saved = errno;
	bool done = false;

	if (level > logger.level)
		return;
	if (logger.forward >= 0) {
		forward(level, fmt, ap);
		errno = saved;
		return;
	}
	size_t n = (logger.json ? format_json : format_line)(line, &body, level, fmt, ap);
	if (logger.fd >= 0) {
		if (logger.max_bytes && logger.keep && logger.bytes > 0 &&
		    logger.bytes + (int64_t)n > logger.max_bytes)
			rotate();
		write_all(logger.fd, line, n);
		logger.bytes += (int64_t)n;
	}
	if (logger.syslog)
		done = line_to_syslog(level, line + body, n - body - 1);
	if (!done && (!logger.status || level <= LVL_WARN)) {
		if (logger.status)
			log_status("");
		write_all(STDERR_FILENO, line, n);
	}
	errno = saved;
}

#define LOG_FUNCTION(name, level) \
	void name(const char *fmt, ...) \
	{ \
		va_list ap; \
		va_start(ap, fmt); \
		log_line(level, fmt, ap); \
		va_end(ap); \
	}

LOG_FUNCTION(log_error, LVL_ERROR)
LOG_FUNCTION(log_warn, LVL_WARN)
LOG_FUNCTION(log_info, LVL_INFO)
LOG_FUNCTION(log_debug, LVL_DEBUG)
LOG_FUNCTION(log_trace, LVL_TRACE)

void log_forward(int fd)
{
	logger.forward = fd;
}

void log_relay(int fd, const char *before)
{
	static void (*const log[])(const char *, ...) = {
		log_error, log_warn, log_info, log_debug, log_trace,
	};
	char text[LINE_BYTES];
	ssize_t n;

	while ((n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT)) > 0) {
		text[n] = 0;
		if (*text >= '0' && *text <= '4')
			log[*text - '0']("%s%s", before, text + 1);
	}
}
