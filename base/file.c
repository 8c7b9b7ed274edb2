/*
 * The files that the config names and the process writes. Others may have write access to the
 * folder: /tmp, or a group's. We neither write into nor truncate what they planted there under our
 * name, a link or a file of theirs.
 *
 * The log and the pid file stay open. Small files that others read while we write them are replaced
 * atomically, by rename, so that a reader sees the old text or the new. Nothing depends on them
 * after a crash, so there is no fsync.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

/* ---- files that stay open */

/* Why the opened file must not be written, or NULL. */
static const char *objection(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "it is no regular file";
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return "it belongs to another user";
	if (st.st_nlink > 1)
		return "it has another name too (a hard link)";
	return NULL;
}

int file_open(const char *path, int flags, const char **why)
{
	int fd = open(path, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0640);

	if (fd < 0) {
		*why = errno == ELOOP ? "it is a symbolic link" : strerror(errno);
		return -1;
	}
	*why = objection(fd);
	if (!*why)
		return fd;
	close(fd);
	return -1;
}

/* ---- files that are replaced whole */

/* A rename would replace a device or a link, which nobody wants. */
static int check_path(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	if (S_ISREG(st.st_mode))
		return 0;
	errno = S_ISLNK(st.st_mode) ? ELOOP : EINVAL;
	return -1;
}

static int write_new(const char *path, struct span text, mode_t mode)
{
	unlink(path);           /* a killed process may have left one */
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text.p, text.n);
	int why = n < 0 ? errno : ENOSPC;
	if (close(fd) == 0 && n >= 0 && (size_t)n == text.n)
		return 0;
	unlink(path);
	errno = why;
	return -1;
}

int file_replace(const char *path, struct span text, mode_t mode)
{
	char *new;
	int rc = check_path(path);

	if (rc < 0 || asprintf(&new, "%s.new", path) < 0)
		return -1;
	rc = write_new(new, text, mode);
	if (rc == 0)
		rc = rename(new, path);
	free(new);
	return rc;
}

int file_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, size - 1);
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	return n < 0 ? -1 : 0;
}
