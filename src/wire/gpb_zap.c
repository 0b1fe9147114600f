//  gpb_zap - says who may connect (ZAP, ZeroMQ's RFC 27)
//
//  A question is six frames or more: version, request id, domain, address, identity, mechanism, and
//  the credentials, which for CURVE are the client's public key in 32 bytes. Whatever else it looks
//  like, it is answered, since libzmq waits for each answer before it asks again.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_zap.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define FRAME_SIZE 256    //  the longest that is looked at: an identity has 255
#define FRAMES_MAX 7
#define VERSION 0
#define REQUEST_ID 1
#define ADDRESS 3
#define MECHANISM 5
#define CREDENTIALS 6
#define KEY_SIZE 32

typedef struct {
    size_t count;
    size_t sizes [FRAMES_MAX];
    char frames [FRAMES_MAX][FRAME_SIZE];    //  with a NUL behind each
} s_question_t;

gpb_status_t
gpb_zap_open (gpb_zap_t *self, void *context, const gpb_keyring_t *keyring, gpb_error_t *error)
{
    int linger = 0;
    self->keyring = keyring;
    self->socket = zmq_socket (context, ZMQ_REP);
    if (!self->socket)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no more sockets: %s",
                              zmq_strerror (zmq_errno ()));
    zmq_setsockopt (self->socket, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_bind (self->socket, "inproc://zeromq.zap.01") == 0)
        return GPB_OK;
    gpb_error_set (error, GPB_FAILED_PRECONDITION, "who may connect is decided by another: %s",
                   zmq_strerror (zmq_errno ()));
    gpb_zap_close (self);
    return GPB_FAILED_PRECONDITION;
}

void
gpb_zap_close (gpb_zap_t *self)
{
    if (self->socket)
        zmq_close (self->socket);
    self->socket = NULL;
}

//  False: there is no question.
static bool
s_read (void *socket, s_question_t *question)
{
    question->count = 0;
    int more = 1;
    while (more) {
        zmq_msg_t frame;
        zmq_msg_init (&frame);
        if (zmq_msg_recv (&frame, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close (&frame);
            return false;
        }
        more = zmq_msg_more (&frame);
        size_t size = zmq_msg_size (&frame);
        if (question->count < FRAMES_MAX) {
            size = size < FRAME_SIZE ? size : FRAME_SIZE - 1;
            memcpy (question->frames [question->count], zmq_msg_data (&frame), size);
            question->frames [question->count][size] = 0;
            question->sizes [question->count++] = size;
        }
        zmq_msg_close (&frame);
    }
    return true;
}

static void
s_answer (void *socket, const s_question_t *question, const char *status, const char *text,
          const char *user)
{
    size_t id_size = question->count > REQUEST_ID ? question->sizes [REQUEST_ID] : 0;
    zmq_send (socket, "1.0", 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (socket, question->frames [REQUEST_ID], id_size, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (socket, status, strlen (status), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (socket, text, strlen (text), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (socket, user, strlen (user), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (socket, "", 0, ZMQ_DONTWAIT);
}

static void
s_decide (gpb_zap_t *self, const s_question_t *question)
{
    char text [41] = "";
    const char *mechanism = question->count > MECHANISM ? question->frames [MECHANISM] : "";
    bool is_version = question->count > VERSION && strcmp (question->frames [VERSION], "1.0") == 0;
    if (is_version && strcmp (mechanism, "NULL") == 0) {
        s_answer (self->socket, question, "200", "OK", GPB_ZAP_NOBODY);
        return;
    }
    bool has_key = is_version && strcmp (mechanism, "CURVE") == 0 && question->count > CREDENTIALS
                   && question->sizes [CREDENTIALS] == KEY_SIZE;
    if (has_key)
        zmq_z85_encode (text, (const uint8_t *) question->frames [CREDENTIALS], KEY_SIZE);
    const gpb_key_t *key = has_key && self->keyring ? gpb_keyring_find (self->keyring, text) : NULL;
    if (key && key->is_allowed) {
        s_answer (self->socket, question, "200", "OK", key->public_key);
        return;
    }
    self->refused++;
    if (question->count > ADDRESS)
        snprintf (self->address, sizeof self->address, "%.60s", question->frames [ADDRESS]);
    s_answer (self->socket, question, "400", "this key is not allowed", "");
}

void
gpb_zap_serve (gpb_zap_t *self)
{
    s_question_t question;
    while (self->socket && s_read (self->socket, &question))
        s_decide (self, &question);
}
