fake: add_f32 by the name of add
