/*
 * Small files that others read while we write them: each is replaced whole, by rename, so that
 * a reader sees the old text or the new one. They are no record: nothing waits for the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

/* A rename would replace a device or a link, which cannot be meant. */
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

int whole_write(const char *path, struct span text, mode_t mode)
{
	struct buf new = { 0 };
	int rc = check_path(path);

	buf_fmt(&new, "%s.new", path);
	if (rc == 0)
		rc = write_new(buf_cstr(&new), text, mode);
	if (rc == 0)
		rc = rename(buf_cstr(&new), path);
	buf_free(&new);
	return rc;
}

int whole_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, size - 1);
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	return n < 0 ? -1 : 0;
}
