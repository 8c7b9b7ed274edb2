/*
 * The pid file: one process a file, and a way to signal it.
 *
 * The file's lock decides: the kernel releases it when the process ends, however it ends, and says
 * who holds it. So a stale file, a wrong number in it or another program's pid never cause a second
 * start or a signal to the wrong process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

static struct {
	int fd;                         /* holds the lock; -1: none */
	char *path;
	pid_t pid;                      /* written in it */
} held = { .fd = -1 };

/* Is the file that we locked still at path? Its previous owner may have removed it. */
static bool still_there(int fd, const char *path)
{
	struct stat ours, theirs;

	return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
		ours.st_dev == theirs.st_dev;
}

void pidfile_unlink(void)
{
	char text[16] = "";

	if (held.fd < 0 || getpid() != held.pid || !still_there(held.fd, held.path))
		return;
	if (pread(held.fd, text, sizeof text - 1, 0) > 0 &&
	    strtol(text, NULL, 10) == held.pid)
		unlink(held.path);
}

static int lock_file(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_SETLK, &lock);
}

/* The process that holds the lock; 0: none. */
static int holder_of(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0 ?
		(int)lock.l_pid : 0;
}

/* pid 0: it has just ended, or lives in another container. */
static void say_locked(const char *path, int pid, char *why, size_t why_size)
{
	char who[32] = "";

	if (pid)
		snprintf(who, sizeof who, " by process %d", pid);
	snprintf(why, why_size, "pidfile %s is locked%s: this config runs already, or another has"
		" the same pidfile", path, who);
}

/* The descriptor, -1 or PIDFILE_HELD. */
static int open_locked(const char *path, char *why, size_t why_size)
{
	const char *reason;

	for (;;) {
		int fd = file_open(path, O_RDWR, &reason);
		if (fd < 0) {
			snprintf(why, why_size, "cannot write pidfile %s: %s%s", path, reason,
				strcmp(reason, strerror(ENOENT)) == 0 ? ": create the folder" : "");
			return -1;
		}
		if (lock_file(fd) < 0) {
			bool locked = errno == EACCES || errno == EAGAIN;
			if (locked)
				say_locked(path, holder_of(fd), why, why_size);
			else
				snprintf(why, why_size, "cannot lock pidfile %s: %s", path,
					strerror(errno));
			close(fd);
			return locked ? PIDFILE_HELD : -1;
		}
		if (still_there(fd, path))
			return fd;
		close(fd);
	}
}

/* Is args the command line of table_dispatcher, or of a Python that runs it? */
static bool is_old_program(const char *args, size_t n)
{
	static const char old[] = "table_dispatcher", python[] = "python";

	for (const char *arg = args; arg < args + n; arg += strlen(arg) + 1) {
		const char *slash = strrchr(arg, '/'), *name = slash ? slash + 1 : arg;
		if (strncmp(name, old, strlen(old)) == 0)
			return true;
		if (arg == args ? strncmp(name, python, strlen(python)) != 0 : *arg != '-')
			return false;
	}
	return false;
}

int pidfile_old_program(const char *path)
{
	char text[32], args[4096];
	long pid = file_read(path, text, sizeof text) == 0 ? strtol(text, NULL, 10) : 0;

	if (pid <= 0 || pid > INT32_MAX)
		return 0;
	snprintf(text, sizeof text, "/proc/%ld/cmdline", pid);
	int fd = open(text, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, args, sizeof args - 1);
	if (fd >= 0)
		close(fd);
	args[n > 0 ? n : 0] = 0;
	return n > 0 && is_old_program(args, (size_t)n) ? (int)pid : 0;
}

int pidfile_take(const char *path, char *why, size_t why_size)
{
	int old = pidfile_old_program(path);    /* it closes the file, which would release a lock */

	if (old) {
		snprintf(why, why_size, "pidfile %s names process %d, a table_dispatcher that runs:"
			" it may still commit a batch; stop it, and wait until it is gone", path,
			old);
		return -1;
	}
	int fd = open_locked(path, why, why_size);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
		snprintf(why, why_size, "cannot write pidfile %s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	held.fd = fd;
	held.path = mem_text(path);
	held.pid = getpid();
	return 0;
}

static void forget(void)
{
	int fd = held.fd;

	held.fd = -1;
	close(fd);
	free(held.path);
	held.path = NULL;
}

void pidfile_remove(void)
{
	if (held.fd < 0)
		return;
	pidfile_unlink();
	forget();
}

int pidfile_keep(char *why, size_t why_size)
{
	if (held.fd < 0 || still_there(held.fd, held.path))
		return 0;
	char *path = mem_text(held.path);
	forget();
	int rc = pidfile_take(path, why, why_size);
	free(path);
	return rc;
}

int pidfile_holder(const char *path, char *why, size_t why_size)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno != ENOENT) {
		snprintf(why, why_size, "cannot read pidfile %s: %s", path, strerror(errno));
		return -1;
	}
	int pid = fd < 0 ? 0 : holder_of(fd), old = pid ? 0 : pidfile_old_program(path);
	if (fd >= 0)
		close(fd);
	if (old)
		snprintf(why, why_size, "pidfile %s names process %d, a table_dispatcher that runs:"
			" table_dispatcher.py has -s to stop it, and the like", path, old);
	else if (!pid)
		snprintf(why, why_size, "it is not running: nobody holds pidfile %s", path);
	return pid;
}

int pidfile_signal(int pid, int sig, char *why, size_t why_size)
{
	if (kill(pid, sig) == 0)
		return 0;
	snprintf(why, why_size, "cannot signal process %d: %s", pid, strerror(errno));
	return -1;
}
