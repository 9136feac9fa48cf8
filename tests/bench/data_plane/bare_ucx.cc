#include "tests/bench/data_plane/bare_ucx.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "common/base/logging.h"
#include "common/base/time_source.h"

namespace cssp::bench {
namespace {

constexpr unsigned kData = 1, kEnd = 2, kAnswer = 3;
constexpr size_t kMaxBytes = size_t{32} << 20;
constexpr int kWindow = 8;

void Handle(ucp_worker_h worker, unsigned id, ucp_am_recv_callback_t callback,
            void* arg) {
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
                     UCP_AM_HANDLER_PARAM_FIELD_CB |
                     UCP_AM_HANDLER_PARAM_FIELD_ARG;
  param.id = id;
  param.cb = callback;
  param.arg = arg;
  CHECK_EQ(ucp_worker_set_am_recv_handler(worker, &param), UCS_OK);
}

void NoError(void*, ucp_ep_h, ucs_status_t) {}

ucp_ep_params_t EndpointParams() {
  ucp_ep_params_t params{};
  params.field_mask =
      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {NoError, nullptr};
  return params;
}

// Thread-confined: the child's main.
class Receiver {
 public:
  explicit Receiver(const std::string& transports)
      : worker_(UcxWorker::Create(Options(transports), 64).value()),
        memory_(kMaxBytes, 1) {
    Handle(worker_->get(), kData, OnData, this);
    Handle(worker_->get(), kEnd, OnEnd, this);
    const SocketAddress address = ResolveAddress("127.0.0.1", 0).value();
    ucp_listener_params_t params{};
    params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR |
                        UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
    params.sockaddr = address.ucs();
    params.conn_handler = {OnConnect, this};
    CHECK_EQ(ucp_listener_create(worker_->get(), &params, &listener_), UCS_OK);
  }

  std::string address() const {
    ucp_listener_attr_t attributes{};
    attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
    CHECK_EQ(ucp_listener_query(listener_, &attributes), UCS_OK);
    return JoinHostPort("127.0.0.1", PortOf(attributes.sockaddr));
  }

  [[noreturn]] void Run() {
    while (true) {
      if (ucp_worker_progress(worker_->get()) > 0) continue;
      if (end_ != nullptr && receiving_ == 0) {
        ucp_request_param_t param{};
        Drop(ucp_am_send_nbx(std::exchange(end_, nullptr), kAnswer, nullptr, 0,
                             nullptr, 0, &param));
        continue;
      }
      worker_->Wait(absl::Seconds(1));
    }
  }

 private:
  static void Drop(ucs_status_ptr_t request) {
    if (UCS_PTR_IS_PTR(request)) ucp_request_free(request);
  }
  static void OnConnect(ucp_conn_request_h request, void* self) {
    ucp_ep_params_t params = EndpointParams();
    params.field_mask |= UCP_EP_PARAM_FIELD_CONN_REQUEST;
    params.conn_request = request;
    ucp_ep_h ep;
    CHECK_EQ(ucp_ep_create(static_cast<Receiver*>(self)->worker_->get(),
                           &params, &ep),
             UCS_OK);
  }
  static ucs_status_t OnData(void* self, const void*, size_t, void* data,
                             size_t bytes, const ucp_am_recv_param_t* param) {
    auto& receiver = *static_cast<Receiver*>(self);
    if (!(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)) {
      memcpy(receiver.memory_.data(), data, bytes);
      return UCS_OK;
    }
    ucp_request_param_t receive{};
    receive.op_attr_mask =
        UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
    receive.cb.recv_am = OnReceived;
    receive.user_data = self;
    ++receiver.receiving_;
    const ucs_status_ptr_t request =
        ucp_am_recv_data_nbx(receiver.worker_->get(), data,
                             receiver.memory_.data(), bytes, &receive);
    if (!UCS_PTR_IS_PTR(request)) --receiver.receiving_;
    return UCS_OK;
  }
  static void OnReceived(void* request, ucs_status_t, size_t, void* self) {
    --static_cast<Receiver*>(self)->receiving_;
    ucp_request_free(request);
  }
  static ucs_status_t OnEnd(void* self, const void*, size_t, void*, size_t,
                            const ucp_am_recv_param_t* param) {
    static_cast<Receiver*>(self)->end_ = param->reply_ep;
    return UCS_OK;
  }

  std::unique_ptr<UcxWorker> worker_;
  std::vector<uint8_t> memory_;
  ucp_listener_h listener_ = nullptr;
  ucp_ep_h end_ = nullptr;
  int receiving_ = 0;
};

ucs_status_t OnAnswer(void* answered, const void*, size_t, void*, size_t,
                      const ucp_am_recv_param_t*) {
  *static_cast<bool*>(answered) = true;
  return UCS_OK;
}

}  // namespace

Process ForkBareReceiver(const std::string& transports) {
  return Fork([&](int fd) {
    Receiver receiver(transports);
    const std::string address = receiver.address();
    CHECK_GT(write(fd, address.data(), address.size()), 0);
    close(fd);
    receiver.Run();
  });
}

BareSender::BareSender(const std::string& transports,
                       const std::string& receiver)
    : worker_(UcxWorker::Create(Options(transports), 64).value()),
      memory_(kMaxBytes, 2),
      only_tcp_(transports == "tcp") {
  Handle(worker_->get(), kAnswer, OnAnswer, &answered_);
  const SocketAddress address = ParseAddress(receiver).value();
  ucp_ep_params_t params = EndpointParams();
  params.field_mask |= UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr = address.ucs();
  CHECK_EQ(ucp_ep_create(worker_->get(), &params, &ep_), UCS_OK);
}

BareSender::~BareSender() {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucs_status_ptr_t closing = ucp_ep_close_nbx(ep_, &param);
  if (!UCS_PTR_IS_PTR(closing)) return;
  while (ucp_request_check_status(closing) == UCS_INPROGRESS) Progress();
  ucp_request_free(closing);
}

void BareSender::OnSent(void* request, ucs_status_t status, void* self) {
  CHECK_EQ(status, UCS_OK) << "a bare send failed";
  --static_cast<BareSender*>(self)->in_flight_;
  ucp_request_free(request);
}

void BareSender::Progress() {
  if (ucp_worker_progress(worker_->get()) == 0 && in_flight_ == kWindow) {
    worker_->Wait(absl::Milliseconds(100));
  }
}

double BareSender::Rate(size_t bytes, absl::Duration duration) {
  TimeSource& time = TimeSource::Real();
  const absl::Time begin = time.Now();
  const absl::Time until = begin + duration;
  uint64_t sent = 0;
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                       UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  if (only_tcp_ && bytes <= UcxWorker::kMaxInOne) {
    param.flags = UCP_AM_SEND_FLAG_EAGER;  // as our transport does
  }
  param.cb.send = OnSent;
  param.user_data = this;
  uint64_t header = 0;
  do {
    for (int i = 0; i < kWindow && in_flight_ < kWindow; ++i, sent += bytes) {
      const ucs_status_ptr_t request = ucp_am_send_nbx(
          ep_, kData, &header, sizeof(header), memory_.data(), bytes, &param);
      CHECK(!UCS_PTR_IS_ERR(request)) << "a bare send failed";
      if (UCS_PTR_IS_PTR(request)) ++in_flight_;
    }
    Progress();  // sleeps only when the window is full
  } while (time.Now() < until);
  answered_ = false;
  param.flags = UCP_AM_SEND_FLAG_REPLY;
  const ucs_status_ptr_t end =
      ucp_am_send_nbx(ep_, kEnd, &header, sizeof(header), nullptr, 0, &param);
  if (UCS_PTR_IS_PTR(end)) ++in_flight_;
  while (!answered_ || in_flight_ > 0) {
    if (ucp_worker_progress(worker_->get()) == 0) {
      worker_->Wait(absl::Milliseconds(100));
    }
  }
  return static_cast<double>(sent) / absl::ToDoubleSeconds(time.Now() - begin);
}

}  // namespace cssp::bench
