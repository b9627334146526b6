#pragma once

#include <vector>

#include "models/layer_costs.hpp"
#include "models/step_plan.hpp"

namespace orrery {

// What is kept in the host's memory (training.offload), and the time that it costs.

/// By layer number, whether its activations go to the host: training.offload counts over all virtual stages
/// of a stage, the first ones first.
std::vector<bool> layers_with_offload(const TrainingSpec& training, const ParallelPlan& plan);

/// What copying a segment's activations to the host, or back, takes longer than the segment's own work.
///
/// Copy engines run beside kernels, and the copies of k of n layers are spread evenly: the i-th may last
/// until layer i n / k is over, in the backward the other way round (Transformer Engine,
/// pytorch/cpu_offload.py, AsyncDoubleBufferGroupOffloadHandler). What is left of k copies after n layers is
/// waited for. Where one segment stands for layers that are alike (ZeRO 3) each carries its share of them.
/// @param work_s  of the segment's kernels and collectives
/// Not modelled: the share of device memory bandwidth that the copies take.
Seconds offload_tail(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                     const ParallelPlan& parallel, const StepPlan& plan, const PlanSegment& segment,
                     double work_s, BytesPerSecond host_link);

/// The optimizer's update on the host, of `updated` parameters of each GPU.
///
/// Their gradients go down in the type that they are reduced in, beside the backward under overlap.gradient
/// and before the update otherwise; the 16-bit parameters come up beside the update, tile by tile. The update
/// is bound by the host's memory, which the GPUs of a node share, and moves what a GPU's would
/// (optimizer_traffic). Source: Ren et al. 2021 (ZeRO-Offload, arXiv 2101.06840), sections 4.1 and 5.1.
struct HostUpdate {
  Seconds gradients;  ///< on their way down, exposed
  Seconds update;
};
HostUpdate host_update(const TrainingSpec& training, const SoftwareStack& stack, const ParallelPlan& parallel,
                       double updated, const CostInputs& inputs);

}  // namespace orrery
