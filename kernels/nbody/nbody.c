//  nbody - one step of n bodies under gravity
//
//  A work-item moves one body. A work-group reads the others a tile at a time into local memory, each
//  once for all its work-items; those beyond n help to read, since all must come to the barriers. A
//  body pulls itself with a force of exactly zero, which softening keeps finite. kernel.conf declares
//  the alignment that a load of four floats at once relies on.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define TILE 256

typedef struct ALIGNED (16) {
    float x, y, z, w;
} four_t;

KERNEL void
nbody (GLOBAL const four_t *RESTRICT bodies, GLOBAL const four_t *RESTRICT velocities,
       GLOBAL four_t *RESTRICT next_bodies, GLOBAL four_t *RESTRICT next_velocities, uint n,
       float time_step, float softening)
{
    LOCAL four_t tile [TILE];
    ulong self = global_id (0);
    four_t body = { 0, 0, 0, 0 };
    if (self < n)
        body = bodies [self];
    float force_x = 0;
    float force_y = 0;
    float force_z = 0;
    for (ulong start = 0; start < n; start += TILE) {
        uint count = (uint) min ((ulong) TILE, n - start);
        for (uint index = (uint) local_id (0); index < count; index += (uint) local_size (0))
            tile [index] = bodies [start + index];
        BARRIER ();
        for (uint index = 0; index < count; index++) {
            float x = tile [index].x - body.x;
            float y = tile [index].y - body.y;
            float z = tile [index].z - body.z;
            float square = fma (x, x, fma (y, y, fma (z, z, softening * softening)));
            float inverse = rsqrt (square);
            float pull = tile [index].w * inverse * inverse * inverse;
            force_x = fma (pull, x, force_x);
            force_y = fma (pull, y, force_y);
            force_z = fma (pull, z, force_z);
        }
        BARRIER ();
    }
    if (self < n) {
        four_t velocity = velocities [self];
        velocity.x = fma (time_step, force_x, velocity.x);
        velocity.y = fma (time_step, force_y, velocity.y);
        velocity.z = fma (time_step, force_z, velocity.z);
        body.x = fma (time_step, velocity.x, body.x);
        body.y = fma (time_step, velocity.y, body.y);
        body.z = fma (time_step, velocity.z, body.z);
        next_velocities [self] = velocity;
        next_bodies [self] = body;
    }
}
