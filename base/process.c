/*
 * The process itself: what its parent left open or ignored, signals, which are blocked except while
 * waiting, and going to the background.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
static int ready_fd = -1;               /* pipe to the parent in process_fork */

/* ---- what the parent process left us */

static int open_nothing(int flags)
{
	int fd = open("/dev/null", flags);

	return fd < 0 ? open("/", O_RDONLY | O_DIRECTORY) : fd;         /* a root without /dev */
}

/* The next file or socket opened would get a closed descriptor 0 to 2, and with it what is meant
 * for the terminal. So open them, for the wrong direction: output still fails. */
static void hold_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open_nothing(fd == 0 ? O_WRONLY : O_RDONLY);
}

/* Past the file size limit, write must fail, not kill. SIGCHLD ignored would hide a child's
 * status. */
static void reset_signals(void)
{
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

/* ---- signals */

static void on_signal(int sig)
{
	if (sig == SIGALRM) {
		if (!may_end)
			return;
		pidfile_unlink();
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

bool process_sleep_on(const int *fd, unsigned n, int64_t ms)
{
	struct pollfd at[PROCESS_WAKERS];
	int64_t end_ms = clock_ms() + ms;
	int ready = 0;

	assert(n <= PROCESS_WAKERS);
	for (unsigned i = 0; i < n; i++)
		at[i] = (struct pollfd){ .fd = fd[i], .events = POLLIN };
	while (!got_term && !got_int && !got_hup && ready <= 0 && clock_ms() < end_ms)
		ready = process_ppoll(at, n, end_ms - clock_ms());
	return !got_term && !got_int && !got_hup && ready <= 0;
}

bool process_sleep(int64_t ms)
{
	return process_sleep_on(NULL, 0, ms);
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

void process_detach(void)
{
	int null = open_nothing(O_RDWR);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

void process_ready(void)
{
	if (ready_fd < 0)
		return;
	process_detach();
	if (write(ready_fd, "", 1) < 0)
		log_debug("nobody waits for the background process");
	close(ready_fd);
	ready_fd = -1;
}

/* ---- a child that works beside us */

void process_child(pid_t parent, int fd)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP, SIGALRM };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	alarm(0);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		signal(ends[i], SIG_DFL);
	catching = false;
	got_term = got_int = got_hup = 0;
	sigprocmask(SIG_SETMASK, &mask_while_waiting, NULL);
	process_detach();
	for (int i = 3, n = (int)sysconf(_SC_OPEN_MAX); i < n && i < 4096; i++)
		if (i != fd)
			close(i);
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
