/*
 * Opening the files that a process writes by a name from its config: the log and the pid file.
 * The folder may be one where others may write too, /tmp or a group's. What they left there under
 * our name, a link or a file of theirs, must neither get our lines nor lose its content to us.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

/* Why a file that could be opened is not to be written, or NULL. */
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
