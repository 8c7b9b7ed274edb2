/*
 * Daemon duties: signals, which are blocked except while waiting, the pid file, going to the
 * background, and signalling the running process.
 *
 * The pid file's lock decides: the kernel releases it when the process ends, however it ends, and
 * says who holds it. So a stale file, a wrong number in it or another program's pid never cause a
 * second start or a signal to the wrong process.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

#define END_AFTER_S 1                   /* how long a call may block after SIGTERM */

static volatile sig_atomic_t got_term, got_int, got_hup;
static volatile sig_atomic_t may_end;
static sigset_t mask_while_waiting, mask_at_work;
static bool catching;
static int end_code;
static int pidfile_fd = -1;
static char *pidfile_path;
static pid_t pidfile_pid;               /* the pid written in it */
static int ready_fd = -1;               /* pipe to the parent in process_fork */

/* ---- what the parent process left us */

/* The next file or socket opened would get a closed descriptor 0 to 2, and with it what is meant
 * for the terminal. So open them, for the wrong direction: output still fails. */
static void hold_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
			open("/", O_RDONLY | O_DIRECTORY);      /* a root without /dev */
	}
}

/* Past the file size limit, write must fail, not kill. SIGCHLD ignored would hide a child's
 * status. */
static void reset_signals(void)
{
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

/* ---- signals */

/* Is the file that we locked still at path? Its previous owner may have removed it. */
static bool still_there(int fd, const char *path)
{
	struct stat ours, theirs;

	return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
		ours.st_dev == theirs.st_dev;
}

/* Only if we hold it and it names us. Async-signal-safe. */
static void remove_pidfile(void)
{
	char text[16] = "";

	if (pidfile_fd < 0 || getpid() != pidfile_pid || !still_there(pidfile_fd, pidfile_path))
		return;
	if (pread(pidfile_fd, text, sizeof text - 1, 0) > 0 &&
	    strtol(text, NULL, 10) == pidfile_pid)
		unlink(pidfile_path);
}

static void on_signal(int sig)
{
	if (sig == SIGALRM) {
		if (!may_end)
			return;
		remove_pidfile();
		_exit(end_code);
	}
	if (sig == SIGHUP)
		got_hup = 1;
	else if (sig == SIGINT && !got_int)
		got_int = 1;
	else
		got_term = 1;           /* SIGTERM, or a second SIGINT */
	if (may_end && got_term)
		alarm(END_AFTER_S);     /* most calls return sooner: a normal end */
}

void process_signals(int code)
{
	struct sigaction act = { .sa_handler = on_signal };

	sigemptyset(&act.sa_mask);
	sigprocmask(SIG_SETMASK, NULL, &mask_while_waiting);
	mask_at_work = mask_while_waiting;
	static const int caught[] = { SIGTERM, SIGINT, SIGHUP, SIGALRM };
	for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
		sigaction(caught[i], &act, NULL);
		sigaddset(&mask_at_work, caught[i]);
		sigdelset(&mask_while_waiting, caught[i]);
	}
	sigprocmask(SIG_SETMASK, &mask_at_work, NULL);
	signal(SIGPIPE, SIG_IGN);
	end_code = code;
	catching = true;
}

void process_may_end(bool yes)
{
	if (!catching)
		return;
	may_end = yes;
	alarm(yes && got_term ? END_AFTER_S : 0);
	sigprocmask(SIG_SETMASK, yes ? &mask_while_waiting : &mask_at_work, NULL);
}

bool process_stop_now(void)
{
	return got_term;
}

bool process_stop_after_batch(void)
{
	return got_int || got_term;
}

bool process_take_reload(void)
{
	bool got = got_hup;

	got_hup = 0;
	return got;
}

int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int process_ppoll(struct pollfd *fds, unsigned n, int64_t timeout_ms)
{
	struct timespec timeout = { .tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000 };

	return ppoll(fds, n, timeout_ms < 0 ? NULL : &timeout, &mask_while_waiting);
}

bool process_sleep(int64_t ms)
{
	int64_t end_ms = clock_ms() + ms;

	while (!got_term && !got_int && !got_hup && clock_ms() < end_ms)
		process_ppoll(NULL, 0, end_ms - clock_ms());
	return !got_term && !got_int && !got_hup;
}

/* ---- the pid file */

static int lock_file(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_SETLK, &lock);
}

/* The descriptor, -1 or PIDFILE_HELD. */
static int open_locked(const char *path, char *why, size_t why_size)
{
	const char *reason;

	for (;;) {
		int fd = file_open(path, O_RDWR, &reason);
		if (fd < 0) {
			snprintf(why, why_size, "cannot write pidfile %s: %s", path, reason);
			return -1;
		}
		if (lock_file(fd) < 0) {
			bool held = errno == EACCES || errno == EAGAIN;
			if (held)
				snprintf(why, why_size, "pidfile %s is locked: it is running"
					" already", path);
			else
				snprintf(why, why_size, "cannot lock pidfile %s: %s", path,
					strerror(errno));
			close(fd);
			return held ? PIDFILE_HELD : -1;
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

int process_old_program(const char *path)
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

int process_pidfile(const char *path, char *why, size_t why_size)
{
	int old = process_old_program(path);    /* it closes the file, which would release a lock */

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
	pidfile_fd = fd;
	pidfile_path = mem_str(path, strlen(path));
	pidfile_pid = getpid();
	return 0;
}

static void forget_pidfile(void)
{
	int fd = pidfile_fd;

	pidfile_fd = -1;
	close(fd);
	free(pidfile_path);
	pidfile_path = NULL;
}

void process_pidfile_remove(void)
{
	if (pidfile_fd < 0)
		return;
	remove_pidfile();
	forget_pidfile();
}

int process_pidfile_keep(char *why, size_t why_size)
{
	if (pidfile_fd < 0 || still_there(pidfile_fd, pidfile_path))
		return 0;
	char *path = mem_str(pidfile_path, strlen(pidfile_path));
	forget_pidfile();
	int rc = process_pidfile(path, why, why_size);
	free(path);
	return rc;
}

int process_signal(const char *path, int sig, char *why, size_t why_size)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno != ENOENT) {
		snprintf(why, why_size, "cannot read pidfile %s: %s", path, strerror(errno));
		return -1;
	}
	bool held = fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK &&
		lock.l_pid > 0;
	if (fd >= 0)
		close(fd);
	if (!held) {
		snprintf(why, why_size, "it is not running: nobody holds pidfile %s", path);
		return -1;
	}
	if (kill(lock.l_pid, sig) < 0) {
		snprintf(why, why_size, "cannot signal process %d: %s", (int)lock.l_pid,
			strerror(errno));
		return -1;
	}
	return 0;
}

/* ---- the background */

/* Waits until the child is ready or has ended; exits with 0 or its exit code. */
static void follow_child(pid_t child, int fd)
{
	char byte;
	int status = 0;

	if (read(fd, &byte, 1) == 1)
		_exit(0);
	bool known = waitpid(child, &status, 0) == child;
	_exit(known && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int process_fork(char *why, size_t why_size)
{
	int fd[2];
	pid_t child = pipe2(fd, O_CLOEXEC) == 0 ? fork() : -1;

	if (child < 0) {
		snprintf(why, why_size, "cannot go to the background: %s", strerror(errno));
		return -1;
	}
	if (child > 0) {
		close(fd[1]);
		follow_child(child, fd[0]);
	}
	close(fd[0]);
	ready_fd = fd[1];
	setsid();
	return 0;
}

void process_ready(void)
{
	if (ready_fd < 0)
		return;
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (write(ready_fd, "", 1) < 0)
		log_debug("nobody waits for the background process");
	close(ready_fd);
	ready_fd = -1;
}

/* ---- RELRO */

/*
 * Makes the relocated address tables read-only, which an attacker would overwrite. A dynamic loader
 * does this; a static-pie has none, and musl's start-up code does not do it. The first object is
 * the program itself; returning 1 ends the iteration there.
 */
static int protect(struct dl_phdr_info *program, size_t size, void *unused)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)unused;
	for (size_t i = 0; i < program->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &program->dlpi_phdr[i];
		if (part->p_type != PT_GNU_RELRO)
			continue;
		uintptr_t start = program->dlpi_addr + part->p_vaddr, end = start + part->p_memsz;
		start &= -page;
		mprotect((void *)start, (end & -page) - start, PROT_READ);
	}
	return 1;
}

void process_begin(void)
{
	hold_standard_files();
	reset_signals();
	dl_iterate_phdr(protect, NULL);
}
