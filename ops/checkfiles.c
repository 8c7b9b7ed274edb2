/*
 * What --check finds out about the files and the address of a run, without making any.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ops.h"

/* Sets the folder of path; returns 0 if a file can be created in it, else errno. */
static int try_folder(const char *path, struct buf *folder)
{
	const char *slash = strrchr(path, '/');
	struct buf inside = { 0 };

	if (slash)
		buf_add(folder, path, slash == path ? 1 : (size_t)(slash - path));
	else
		buf_str(folder, ".");
	buf_fmt(&inside, "%s/.", buf_cstr(folder));
	int why = access(buf_cstr(&inside), W_OK | X_OK) < 0 ? errno : 0;
	buf_free(&inside);
	return why;
}

/* Folders that a service may create when it starts. */
static bool is_made_at_start(const char *folder)
{
	static const char *const above[] = { "/run/", "/var/run/", "/var/log/" };

	for (size_t i = 0; i < sizeof above / sizeof *above; i++)
		if (strncmp(folder, above[i], strlen(above[i])) == 0)
			return true;
	return false;
}

/* A file that a run keeps open and needs. */
static void check_kept_file(struct findings *found, const char *key, const char *path)
{
	struct buf folder = { 0 };

	if (!path)
		return;
	bool there = access(path, F_OK) == 0;
	int why = !there ? try_folder(path, &folder) : access(path, W_OK) < 0 ? errno : 0;
	if (why == ENOENT && is_made_at_start(buf_cstr(&folder)))
		finding_warning("%s %s: folder %s is not there: create it, if the service does not"
			" at its start", key, path, buf_cstr(&folder));
	else if (why && there)
		finding_wrong(found, "%s %s cannot be written: %s", key, path, strerror(why));
	else if (why)
		finding_wrong(found, "%s %s cannot be written: folder %s: %s", key, path,
			buf_cstr(&folder), strerror(why));
	buf_free(&folder);
}

/* A file that a run replaces, and can do without. */
static void check_whole_file(const char *key, const char *path)
{
	struct buf folder = { 0 };
	int why = path ? try_folder(path, &folder) : 0;

	if (why)
		finding_warning("%s %s cannot be written: folder %s: %s; a run would go on without"
			" it", key, path, buf_cstr(&folder), strerror(why));
	buf_free(&folder);
}

/* A process that is not this config's keeps a run from starting. */
static void check_holder(struct findings *found, const struct conf *conf)
{
	const char *pidfile = conf->pidfile;
	char why[1024];
	int pid = pidfile ? pidfile_old_program(pidfile) : 0;

	if (pid)
		finding_wrong(found, "pidfile %s names process %d, a table_dispatcher that"
			" runs: stop it, and wait until it is gone", pidfile, pid);
	pid = !pid && pidfile ? pidfile_holder(pidfile, why, sizeof why) : 0;
	if (pid > 0 && state_is_anothers(conf, pid, why, sizeof why))
		finding_wrong(found, "%s", why);
}

/* The running process of this config may be the one that listens. */
static void check_listen(const struct conf *conf)
{
	const char *address = conf->metrics_listen;
	struct socket_address a;
	struct state state;

	if (!address || !socket_address(address, &a))
		return;
	int fd = socket_listen(&a), why = errno;
	bool ours = conf->state_file && state_read(conf->state_file, &state) == 0 &&
		state_is_live(&state);
	if (fd >= 0) {
		if (*address == '/')
			unlink(address);        /* before a process that starts can replace it */
		close(fd);
		finding_ok("metrics_listen %s can be listened on", address);
	} else if (why == EADDRINUSE) {
		(ours ? finding_ok : finding_warning)("metrics_listen %s: %s listens there",
			address, ours ? "the running process" : "another process");
	} else {
		finding_warning("metrics_listen %s: %s", address, strerror(why));
	}
}

void checkfiles_run(struct findings *found, const struct conf *conf)
{
	const char *state = conf->state_file;

	if (state && conf->pidfile && strncmp(state, conf->pidfile, strlen(conf->pidfile)) == 0)
		state = NULL;           /* next to it, in the same folder */
	check_kept_file(found, "pidfile", conf->pidfile);
	check_holder(found, conf);
	if (conf->logfile && strcmp(conf->logfile, "syslog") != 0)
		check_kept_file(found, "logfile", conf->logfile);
	check_whole_file("state_file", state);
	check_whole_file("metrics_file", conf->metrics_file);
	check_listen(conf);
}
