//  gpb - everything that an application includes
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_H_INCLUDED
#define GPB_H_INCLUDED

#include "gpb_actor.h"
#include "gpb_certificate.h"
#include "gpb_client.h"
#include "gpb_config.h"
#include "gpb_device.h"
#include "gpb_error.h"
#include "gpb_host.h"
#include "gpb_pool.h"
#include "gpb_reply.h"
#include "gpb_request.h"

#endif
