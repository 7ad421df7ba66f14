/* banned.h - functions that must not compile in hone.  Every C file sees this first (cmake: -include).
 * Follows git's banned.h: a call becomes an undeclared name that says what to write instead. */
#ifndef HONE_BANNED_H
#define HONE_BANNED_H
/* Their real declarations come first, so that the names below only touch our own code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HONE_BANNED(func, instead) sorry_##func##_is_banned_use_##instead

/* No bound on what is written. */
#undef strcpy
#define strcpy(d, s) HONE_BANNED(strcpy, snprintf_or_memcpy)
#undef strcat
#define strcat(d, s) HONE_BANNED(strcat, snprintf)
#undef sprintf
#define sprintf(...) HONE_BANNED(sprintf, snprintf)
#undef vsprintf
#define vsprintf(...) HONE_BANNED(vsprintf, vsnprintf)
#undef gets
#define gets(s) HONE_BANNED(gets, fgets)
/* Leaves the result without a NUL, or fills with NULs what nobody reads. */
#undef strncpy
#define strncpy(d, s, n) HONE_BANNED(strncpy, snprintf_or_memcpy)
#undef strncat
#define strncat(d, s, n) HONE_BANNED(strncat, snprintf)
/* Hidden state shared by all threads. */
#undef strtok
#define strtok(s, d) HONE_BANNED(strtok, strtok_r_or_strcspn)
#undef rand
#define rand() HONE_BANNED(rand, a_seeded_generator)
#undef srand
#define srand(s) HONE_BANNED(srand, a_seeded_generator)
#undef gmtime
#define gmtime(t) HONE_BANNED(gmtime, gmtime_r)
#undef localtime
#define localtime(t) HONE_BANNED(localtime, localtime_r)
#undef ctime
#define ctime(t) HONE_BANNED(ctime, strftime)
#undef asctime
#define asctime(t) HONE_BANNED(asctime, strftime)
/* Cannot say that the text was no number. */
#undef atoi
#define atoi(s) HONE_BANNED(atoi, strtol)
#undef atol
#define atol(s) HONE_BANNED(atol, strtol)
#undef atoll
#define atoll(s) HONE_BANNED(atoll, strtoll)
#undef atof
#define atof(s) HONE_BANNED(atof, strtod)
/* A name that somebody else may take first. */
#undef tmpnam
#define tmpnam(s) HONE_BANNED(tmpnam, mkstemp)
#undef mktemp
#define mktemp(s) HONE_BANNED(mktemp, mkstemp)
/* A shell between us and the child. */
#undef system
#define system(s) HONE_BANNED(system, the_runner_host)
#undef popen
#define popen(c, m) HONE_BANNED(popen, the_runner_host)
#endif
