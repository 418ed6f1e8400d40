// A second device that lives in ordinary memory, for PyTorch's backend PrivateUse1. What runs on it runs on the CPU, but
// a tensor of one dimension or more that was left on the CPU, or a generator of the CPU's, raises, as on a GPU.

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/set_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

namespace {

constexpr auto kSecond = c10::DeviceType::PrivateUse1;
const c10::Device DEVICE(kSecond, 0);

// Counts what is allocated: no more than SECOND_DEVICE_BYTES in the environment, 4 GiB if there is none.
struct Memory final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    TORCH_CHECK_WITH(OutOfMemoryError, held() + bytes <= room(), "second out of memory. Tried to allocate ", bytes,
                     " bytes");
    auto* block = static_cast<Block*>(std::calloc(1, sizeof(Block) + bytes));
    block->bytes = bytes;
    stats.allocated_bytes[0].increase(bytes);
    return {block + 1, block + 1, &release, DEVICE};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return stats; }
  void resetAccumulatedStats(c10::DeviceIndex) override { stats.allocated_bytes[0].reset_accumulated(); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override { return {room() - held(), room()}; }
  void resetPeakStats(c10::DeviceIndex) override { stats.allocated_bytes[0].reset_peak(); }

 private:
  struct alignas(64) Block {
    size_t bytes;
  };
  static size_t room() {
    const char* limit = std::getenv("SECOND_DEVICE_BYTES");
    return limit ? std::strtoull(limit, nullptr, 10) : size_t(4) << 30;
  }
  static size_t held() { return stats.allocated_bytes[0].current; }
  static void release(void* data) {
    auto* block = static_cast<Block*>(data) - 1;
    stats.allocated_bytes[0].decrease(block->bytes);
    std::free(block);
  }
  static inline c10::CachingDeviceAllocator::DeviceStats stats;
};
Memory memory;
REGISTER_ALLOCATOR(kSecond, &memory);

struct Guard final : c10::impl::NoOpDeviceGuardImpl<kSecond> {
  c10::Device exchangeDevice(c10::Device) const override { return DEVICE; }
  c10::Device getDevice() const override { return DEVICE; }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, DEVICE); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return getStream(DEVICE); }
  void synchronizeDevice(const c10::DeviceIndex) const override {}

  using Clock = std::chrono::steady_clock;
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (!*event) *event = new Clock::time_point;
    *static_cast<Clock::time_point*>(*event) = Clock::now();
  }
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Clock::time_point*>(event);
  }
  double elapsedTime(void* first, void* last, const c10::DeviceIndex) const override {
    auto took = *static_cast<Clock::time_point*>(last) - *static_cast<Clock::time_point*>(first);
    return std::chrono::duration<double, std::milli>(took).count();
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const override {
    auto* which = storage.unsafeGetStorageImpl();
    auto data = memory.allocate(size);
    std::memcpy(data.get(), which->data(), std::min(size, which->nbytes()));
    which->set_data_ptr_noswap(std::move(data));
    which->set_nbytes(size);
  }
};

// The same memory as a tensor of the CPU's.
at::Tensor here(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_privateuseone()) return tensor;
  auto& storage = tensor.storage();
  auto whole = at::from_blob(storage.mutable_data(), {static_cast<int64_t>(storage.nbytes())}, at::kByte);
  auto typed = at::empty({0}, tensor.options().device(at::kCPU));
  typed.set_(whole.storage(), tensor.storage_offset(), tensor.sizes(), tensor.strides());
  if (tensor.is_conj()) typed._set_conj(true);
  return typed;
}

at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  constexpr c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_generic(size, &memory, keys, c10::dtype_or_default(type), format);
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> type,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  constexpr c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_strided_generic(size, stride, &memory, keys, c10::dtype_or_default(type));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  c10::impl::ExcludeDispatchKeyGuard no_autograd(c10::autograd_dispatch_keyset);
  here(to).copy_(here(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  const_cast<at::Tensor&>(to).resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar(const at::Tensor& tensor) { return here(tensor).item(); }

const at::Tensor& resize(const at::Tensor& tensor, c10::SymIntArrayRef size, std::optional<at::MemoryFormat>) {
  auto sizes = C10_AS_INTARRAYREF_SLOW(size);
  int64_t bytes = tensor.itemsize() * tensor.storage_offset();
  int64_t count = 1;
  for (auto each : sizes) count *= each;
  bytes += count * tensor.itemsize();
  if (static_cast<size_t>(bytes) > tensor.storage().nbytes())
    at::detail::getPrivateUse1Hooks().resizePrivateUse1Bytes(tensor.storage(), bytes);
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return tensor;
}

at::Tensor& set_storage(at::Tensor& tensor, c10::Storage source, c10::SymInt offset, c10::SymIntArrayRef size,
                        c10::SymIntArrayRef stride) {
  auto* which = tensor.unsafeGetTensorImpl();
  which->set_storage_keep_dtype(std::move(source));
  which->set_sizes_and_strides(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), offset.expect_int());
  return tensor;
}

at::Tensor& set_whole(at::Tensor& tensor, c10::Storage source) {
  const int64_t count = source.nbytes() / tensor.itemsize();
  return set_storage(tensor, std::move(source), 0, c10::fromIntArrayRefSlow({count}), c10::fromIntArrayRefSlow({1}));
}

at::Tensor& set_tensor(at::Tensor& tensor, const at::Tensor& source) {
  return set_storage(tensor, source.storage(), source.storage_offset(), source.sym_sizes(), source.sym_strides());
}

at::Tensor view(const at::Tensor& tensor, c10::SymIntArrayRef size) {
  return at::native::view(tensor, C10_AS_INTARRAYREF_SLOW(size));
}

at::Tensor as_strided(const at::Tensor& tensor, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                      std::optional<c10::SymInt> offset) {
  std::optional<int64_t> start;
  if (offset.has_value()) start = offset->expect_int();
  return at::native::as_strided_tensorimpl(tensor, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), start);
}

at::Tensor reshape_alias(const at::Tensor& tensor, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return at::native::_reshape_alias(tensor, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}

void left_elsewhere(const at::Tensor& tensor, const c10::OperatorHandle& op) {
  TORCH_CHECK(!tensor.defined() || tensor.is_privateuseone() || tensor.dim() == 0,
              "Expected all tensors to be on the same device, but ", op.operator_name().name, " got one of shape ",
              tensor.sizes(), " on ", tensor.device());
}

// Everything else runs on the CPU, once it is sure that all tensors are here.
void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& arguments = op.schema().arguments();
  const auto& name = op.operator_name().name;
  const bool indexes = name.find("aten::index") == 0 && name.find("Tensor") == std::string::npos;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto& value = torch::jit::peek(*stack, i, arguments.size());
    if (value.isTensor()) {
      left_elsewhere(value.toTensor(), op);
    } else if (value.isTensorList()) {
      for (const at::Tensor& each : value.toTensorList()) left_elsewhere(each, op);
    } else if (value.isOptionalTensorList() && !indexes) {
      for (const std::optional<at::Tensor>& each : value.toOptionalTensorList())
        if (each.has_value()) left_elsewhere(*each, op);
    } else if (value.isGenerator()) {
      TORCH_CHECK(value.toGenerator().device() == DEVICE, "Expected a generator of ", DEVICE, " in ", name);
    }
  }
  at::native::cpu_fallback(op, stack);
}

// Its schema does not say that it writes the running statistics, so a fallback would lose them.
std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm(
    const at::Tensor& x, const std::optional<at::Tensor>& weight, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& mean, const std::optional<at::Tensor>& var, bool training, double momentum,
    double eps) {
  auto taken = [&](const std::optional<at::Tensor>& each) {
    TORCH_CHECK(!each.has_value() || !each->defined() || each->is_privateuseone(),
                "Expected all tensors to be on the same device, but batch_norm got one on the CPU");
    return each.has_value() ? here(*each) : at::Tensor();
  };
  c10::impl::ExcludeDispatchKeyGuard no_autograd(c10::autograd_dispatch_keyset);
  auto [y, m, v] = at::native_batch_norm(here(x), taken(weight), taken(bias), taken(mean), taken(var), training,
                                         momentum, eps);
  return {y.to(DEVICE), m.to(DEVICE), v.to(DEVICE)};
}

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       c10::IntArrayRef stride, c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed,
                       c10::IntArrayRef output_padding, int64_t groups) {
  for (const auto& each : {x, weight, bias.value_or(at::Tensor())})
    TORCH_CHECK(!each.defined() || each.is_privateuseone(),
                "Expected all tensors to be on the same device, but convolution got one on the CPU");
  c10::impl::ExcludeDispatchKeyGuard no_autograd(c10::autograd_dispatch_keyset);
  std::optional<at::Tensor> near = bias.has_value() ? std::optional(here(*bias)) : std::nullopt;
  return at::convolution(here(x), here(weight), near, stride, padding, dilation, transposed, output_padding, groups)
      .to(DEVICE);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight, c10::IntArrayRef stride,
    c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed, c10::IntArrayRef output_padding,
    int64_t groups, std::array<bool, 3> mask) {
  c10::impl::ExcludeDispatchKeyGuard no_autograd(c10::autograd_dispatch_keyset);
  std::vector<int64_t> sizes{weight.size(transposed ? 1 : 0) * (transposed ? groups : 1)};
  auto [dx, dw, db] = at::convolution_backward(here(gradient), here(x), here(weight), sizes, stride, padding, dilation,
                                               transposed, output_padding, groups, mask);
  auto there = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.to(DEVICE) : tensor; };
  return {there(dx), there(dw), there(db)};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &local_scalar);
  m.impl("resize_", &resize);
  m.impl("set_.source_Storage_storage_offset", &set_storage);
  m.impl("set_.source_Storage", &set_whole);
  m.impl("set_.source_Tensor", &set_tensor);
  m.impl("view", &view);
  m.impl("as_strided", &as_strided);
  m.impl("_reshape_alias", &reshape_alias);
  m.impl("unfold", &at::native::unfold);
  m.impl("native_batch_norm", &batch_norm);
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>()); }
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }

const bool registered = [] {
  at::RegisterPrivateUse1HooksInterface(new Hooks());
  return true;
}();

}  // namespace
