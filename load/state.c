/*
 * The state file: by it --health and --status see the running process without asking a server.
 *
 * Times are of CLOCK_MONOTONIC, which all processes of a machine share and nobody sets. A file
 * that a killed process left is told by its pid and by when that process began, one from before a
 * reboot by that or its clock.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define FILE_BYTES 2048                 /* an error's text and the rest */

/* When the process began; 0 when /proc does not tell, -1 when it has ended. */
static int64_t began(int pid)
{
	char path[40], text[1024];
	long long at;
	char how;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (file_read(path, text, sizeof text) < 0)
		return 0;
	const char *name_end = strrchr(text, ')');
	if (!name_end || sscanf(name_end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld",
	    &how, &at) != 2)
		return 0;
	return how == 'Z' ? -1 : at;
}

void state_of_this_process(struct state *s)
{
	*s = (struct state){ .pid = getpid(), .began = began(getpid()) };
}

int state_write(const char *path, const struct state *s)
{
	char text[FILE_BYTES];

	int n = snprintf(text, sizeof text, "pid %d\nbegan %" PRId64 "\ndoing %s\nprogress_ms %" PRId64 "\nevents %" PRId64 "\nerror_at %" PRId64
		"\nerror %s\n", s->pid, s->began, s->doing, s->progress_ms, s->events, s->error_at_s, s->error);
	return file_replace(path, (struct span){ text, (size_t)n }, 0640);
}

int state_read(const char *path, struct state *s)
{
	char text[FILE_BYTES];

	*s = (struct state){ 0 };
	if (file_read(path, text, sizeof text) < 0)
		return -1;
	if (sscanf(text, "pid %d began %" SCNd64 " doing %15s progress_ms %" SCNd64 " events %" SCNd64 " error_at %" SCNd64 " error %1023[^\n]",
	    &s->pid, &s->began, s->doing, &s->progress_ms, &s->events, &s->error_at_s, s->error) < 6 || s->pid <= 0) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

bool state_is_live(const struct state *s)
{
	if (s->pid <= 0 || strcmp(s->doing, "ended") == 0 || s->progress_ms > clock_ms() ||
	    (kill(s->pid, 0) < 0 && errno != EPERM))
		return false;
	int64_t at = began(s->pid);
	return at == s->began || !at || (at > 0 && !s->began);
}

bool state_healthy(const char *path, int64_t limit_ms, struct buf *line)
{
	struct state s;

	if (state_read(path, &s) < 0) {
		if (errno == ENOENT)
			buf_fmt(line, "it is not running: there is no state file %s", path);
		else
			buf_fmt(line, "cannot read state file %s: %s", path, errno == EINVAL ? "it is none" : strerror(errno));
		return false;
	}
	int64_t age_ms = clock_ms() - s.progress_ms;
	bool live = state_is_live(&s), late = age_ms > limit_ms;
	if (!live)
		buf_fmt(line, "process %d does not run any more", s.pid);
	else if (late)
		buf_fmt(line, "process %d is %s, without progress for %.1f s", s.pid, s.doing, (double)age_ms / 1000);
	else
		buf_fmt(line, "process %d is %s, progress %.1f s ago", s.pid, s.doing, (double)age_ms / 1000);
	if (*s.error && (!live || strcmp(s.doing, "failing") == 0))
		buf_fmt(line, "; last error: %s", s.error);
	return live && !late;
}
