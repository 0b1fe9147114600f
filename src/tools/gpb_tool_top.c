//  gpb_tool_top - `gpb top`: the node's figures, live
//
//  Asks for the figures every --interval, and shows each answer, or why there is none, as one frame
//  (gpb_frame): on a screen of its own where both ends are a terminal, else as plain text, or with
//  --json as an object a line. The client connects again by itself, so that a node that went away
//  and came back shows as that.
//
//  The terminal is ncurses': it knows what the terminal can do, keeps and restores what was on it,
//  suspends with Ctrl-Z and sizes itself anew. `q` ends it; so does a signal, which only sets a
//  flag, so that every way out of the loop leads through the one place that gives the terminal
//  back.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_frame.h"
#include "gpb_tool.h"

#include <curses.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_MS 1000    //  a node that is there answers this in far less
#define TURN_MS 100               //  as late as a signal that came just before a wait is noticed

typedef struct {
    const gpb_arguments_t *arguments;
    const char *endpoint;
    gpb_client_t *client;
    SCREEN *screen;         //  NULL: plain frames
    uint64_t asked;         //  the id of the question that is in flight; 0: none
    uint64_t next_ns;       //  when the next one is due
    gpb_reply_t *now;       //  the last answer; NULL: none yet
    gpb_reply_t *before;    //  the one before, in the same life of the node
    char trouble [512];     //  why the last question has no answer; "": it has
    uint64_t frames;        //  shown
    bool ended;
    int result;    //  exit status
} s_top_t;

static const Gpb__V1__StatsReply *
s_stats_peek (const gpb_reply_t *reply)
{
    return reply ? gpb_reply_header_peek (reply)->stats : NULL;
}

static gpb_frame_t
s_frame (const s_top_t *self, int columns)
{
    return (gpb_frame_t){ .endpoint = self->endpoint,
                          .trouble = self->trouble [0] ? self->trouble : NULL,
                          .now = s_stats_peek (self->now),
                          .before = s_stats_peek (self->before),
                          .columns = columns };
}

static void
s_fail (s_top_t *self, const gpb_error_t *error)
{
    if (self->screen)
        endwin ();
    self->result = gpb_tool_fail (error);
    self->ended = true;
}

//  ---------------------------------------------------------------------------------------------------------
//  The screen

//  Bytes of a line that fit into so many columns; a character of ours takes one.
static int
s_fitting (const char *line, size_t size, int columns)
{
    size_t at = 0;
    for (; at < size; at++)
        if (((unsigned char) line [at] & 0xC0) != 0x80 && columns-- == 0)
            break;
    return (int) at;
}

static void
s_draw (s_top_t *self)
{
    gpb_error_t error;
    gpb_frame_t frame = s_frame (self, COLS);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream (&text, &size);
    gpb_status_t status = GPB_RESOURCE_EXHAUSTED;
    if (out)
        status = gpb_frame_print (&frame, out, &error);
    else
        gpb_error_set (&error, status, "no memory for a frame");
    if (out && (fclose (out) != 0 || !text) && status == GPB_OK)
        status = gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for a frame");
    if (status != GPB_OK)
        s_fail (self, &error);
    else {
        erase ();
        int row = 0;
        for (const char *line = text; *line && row < LINES; row++) {
            size_t length = strcspn (line, "\n");
            bool loud = row == 0 || strncmp (line, "NO ANSWER", 9) == 0;
            attrset (row == 0 ? A_BOLD : loud ? A_REVERSE : A_NORMAL);
            mvaddnstr (row, 0, line, s_fitting (line, length, COLS));
            line += length + (line [length] == '\n');
        }
        attrset (A_DIM);
        if (row < LINES)
            mvaddnstr (LINES - 1, 0, "q: quit", COLS);
        attrset (A_NORMAL);
        refresh ();
    }
    free (text);
}

//  Whether there is a screen; a terminal that ncurses does not know gets plain frames.
static bool
s_open_screen (s_top_t *self)
{
    if (self->arguments->json || !isatty (STDIN_FILENO) || !isatty (STDOUT_FILENO))
        return false;
    //  Our text is UTF-8, whatever the user's locale is.
    if (!setlocale (LC_CTYPE, "") || strcmp (nl_langinfo (CODESET), "UTF-8") != 0)
        setlocale (LC_CTYPE, "C.UTF-8");
    gpb_tool_catch_signal (SIGHUP);
    gpb_tool_catch_signal (SIGQUIT);
    self->screen = newterm (NULL, stdout, stdin);
    if (!self->screen)
        return false;
    cbreak ();
    noecho ();
    nodelay (stdscr, TRUE);
    keypad (stdscr, TRUE);
    curs_set (0);
    return true;
}

static void
s_close_screen (s_top_t *self)
{
    if (self->screen) {
        endwin ();
        delscreen (self->screen);
        self->screen = NULL;
    }
}

static void
s_read_keys (s_top_t *self)
{
    for (int key = getch (); key != ERR; key = getch ())
        if (key == 'q' || key == 'Q')
            self->ended = true;
        else if (key == KEY_RESIZE) {
            //  What the terminal still shows of the old size is its own affair: nothing of it is
            //  taken for drawn.
            clearok (curscr, TRUE);
            s_draw (self);
        }
}

//  ---------------------------------------------------------------------------------------------------------
//  Frames

static json_t *
s_json_rate (double rate)
{
    return rate < 0 ? json_null () : json_real (rate);
}

static json_t *
s_json_rates (const gpb_frame_t *frame)
{
    json_t *array = json_array ();
    for (size_t index = 0; frame->now && index < frame->now->n_devices; index++) {
        const Gpb__V1__Device *device = frame->now->devices [index];
        const Gpb__V1__Load *before = gpb_frame_load_before (frame, device->index);
        const Gpb__V1__Load *now = device->load;
        bool known = now && before;
        double processed = known ? gpb_frame_rate (frame, now->processed, before->processed) : -1;
        double failed = known ? gpb_frame_rate (frame, now->failed, before->failed) : -1;
        json_array_append_new (array,
                               json_pack ("{s:I, s:o, s:o}", "index", (json_int_t) device->index,
                                          "processed_per_second", s_json_rate (processed),
                                          "failed_per_second", s_json_rate (failed)));
    }
    return array;
}

static int
s_print_json (const s_top_t *self)
{
    gpb_frame_t frame = s_frame (self, 0);
    const Gpb__V1__StatsReply *now = frame.now, *before = frame.before;
    double requests = now && before ? gpb_frame_rate (&frame, now->requests, before->requests) : -1;
    double replies = now && before ? gpb_frame_rate (&frame, now->replies, before->replies) : -1;
    return gpb_json_print_line (
        json_pack ("{s:b, s:o, s:o, s:o, s:o, s:o}", "ok", frame.trouble == NULL, "message",
                   gpb_json_text (self->trouble), "requests_per_second", s_json_rate (requests),
                   "replies_per_second", s_json_rate (replies), "rates", s_json_rates (&frame),
                   "stats", now ? gpb_json_stats (now) : json_null ()));
}

static void
s_show (s_top_t *self)
{
    gpb_error_t error;
    gpb_frame_t frame = s_frame (self, 0);
    if (self->screen)
        s_draw (self);
    else if (self->arguments->json)
        self->result = s_print_json (self);
    else {
        if (self->frames)
            putchar ('\n');
        if (gpb_frame_print (&frame, stdout, &error) != GPB_OK)
            s_fail (self, &error);
        else
            self->result = gpb_tool_flush ();
    }
    self->frames++;
    self->ended |= self->result != GPB_EXIT_OK || self->frames == self->arguments->count;
}

//  ---------------------------------------------------------------------------------------------------------
//  Questions and answers

static void
s_ask (s_top_t *self, uint64_t now_ns)
{
    gpb_error_t error;
    uint32_t timeout_ms = self->arguments->timeout_ms;
    gpb_request_t *request = gpb_request_stats ();
    gpb_request_set_timeout (request, timeout_ms ? timeout_ms : ANSWER_TIMEOUT_MS);
    self->asked = gpb_client_send (self->client, &request, &error);
    if (!self->asked)
        s_fail (self, &error);
    self->next_ns = now_ns + self->arguments->interval_ms * GPB_NS_PER_MS;
}

//  Takes an answer, of any status.
static void
s_take (s_top_t *self, gpb_reply_t *reply)
{
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    bool was_away = self->trouble [0] != 0;
    self->trouble [0] = 0;
    if (gpb_reply_status (reply) != GPB_OK || header->body_case != GPB__V1__REPLY__BODY_STATS) {
        bool ok = gpb_reply_status (reply) == GPB_OK;
        snprintf (self->trouble, sizeof self->trouble, "%s: %s",
                  gpb_status_name (gpb_reply_status (reply)),
                  ok ? "the node's answer is to another question" : gpb_reply_message (reply));
        gpb_reply_destroy (&reply);
        return;
    }
    gpb_reply_destroy (&self->before);
    self->before = self->now;
    self->now = reply;
    //  A node that started again counts from 0, and one that was away may have.
    if (was_away)
        gpb_reply_destroy (&self->before);
    if (self->before && s_stats_peek (self->before)->uptime_ns >= header->stats->uptime_ns)
        gpb_reply_destroy (&self->before);
}

//  Until there may be an answer, a key, or something to do.
static void
s_wait (s_top_t *self, uint64_t now_ns)
{
    zmq_pollitem_t items [2] = { { zsock_resolve (gpb_client_socket (self->client)), 0, ZMQ_POLLIN,
                                   0 },
                                 { NULL, STDIN_FILENO, ZMQ_POLLIN, 0 } };
    uint64_t wait_ms = TURN_MS;
    if (!self->asked)
        wait_ms = self->next_ns > now_ns
                      ? (self->next_ns - now_ns + GPB_NS_PER_MS - 1) / GPB_NS_PER_MS
                      : 0;
    int client_ms = gpb_client_next_timeout (self->client);
    if (client_ms >= 0 && (uint64_t) client_ms < wait_ms)
        wait_ms = (uint64_t) client_ms;
    if (wait_ms > TURN_MS)
        wait_ms = TURN_MS;
    if (zmq_poll (items, self->screen ? 2 : 1, (long) wait_ms) > 0
        && items [1].revents & ZMQ_POLLERR)
        self->ended = true;    //  the terminal is gone
}

static void
s_run (s_top_t *self)
{
    self->next_ns = gpb_clock_ns ();
    while (!self->ended && !gpb_tool_interrupted ()) {
        uint64_t now_ns = gpb_clock_ns ();
        if (!self->asked && now_ns >= self->next_ns)
            s_ask (self, now_ns);
        s_wait (self, now_ns);
        if (self->screen)
            s_read_keys (self);
        gpb_reply_t *reply;
        while (!self->ended && (reply = gpb_client_recv (self->client, 0))) {
            self->asked = 0;
            //  A late answer's rates would be of no time at all if the next one came at once.
            now_ns = gpb_clock_ns ();
            if (self->next_ns < now_ns)
                self->next_ns = now_ns + self->arguments->interval_ms * GPB_NS_PER_MS;
            s_take (self, reply);
            s_show (self);
        }
    }
}

int
gpb_tool_top (const gpb_arguments_t *arguments)
{
    s_top_t self = { .arguments = arguments, .result = GPB_EXIT_OK };
    self.client = gpb_tool_connect (arguments);
    if (!self.client)
        return GPB_EXIT_FAILED;
    self.endpoint = gpb_tool_endpoint (arguments);
    bool on_screen = s_open_screen (&self);
    if (on_screen)
        s_draw (&self);
    s_run (&self);
    s_close_screen (&self);
    gpb_reply_destroy (&self.now);
    gpb_reply_destroy (&self.before);
    gpb_client_destroy (&self.client);
    return self.result == GPB_EXIT_OK && !on_screen && self.trouble [0] ? GPB_EXIT_FAILED
                                                                        : self.result;
}
