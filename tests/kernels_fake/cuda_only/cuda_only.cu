extern "C" __global__ void cuda_only (int n) {}
