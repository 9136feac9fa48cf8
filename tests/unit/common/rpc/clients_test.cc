// The clients against a real gRPC server on loopback, whose services do little.
#include <gmock/gmock.h>

#include <atomic>
#include <memory>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/rpc/coordinator_client.h"
#include "common/rpc/grpc_glue.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/shard_client.h"
#include "proto/control.grpc.pb.h"

namespace cssp {
namespace {

using testing::HasSubstr;

class FakeCoordinator final : public control::Coordinator::Service {
 public:
  grpc::Status ListJobs(grpc::ServerContext*, const control::ListJobsRequest*,
                        control::ListJobsResponse* response) override {
    if (failures-- > 0) return ToGrpc(absl::UnavailableError("not yet"));
    response->add_jobs()->set_job_id("a-1");
    return grpc::Status::OK;
  }
  grpc::Status DescribeJob(grpc::ServerContext*, const control::JobRef* ref,
                           control::JobStatus*) override {
    ++calls;
    return ToGrpc(absl::NotFoundError("no job " + ref->job_id()));
  }
  grpc::Status SubmitJob(grpc::ServerContext*,
                         const control::SubmitJobRequest* request,
                         control::SubmitJobResponse* response) override {
    response->set_job_id(request->spec().request_id());
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext*, const control::WatchJobRequest*,
                        grpc::ServerWriter<control::JobEvent>* writer) override {
    for (int i = 0; i < 1000; ++i) {
      control::JobEvent event;
      event.mutable_progress()->set_clock(i);
      if (!writer->Write(event)) break;
    }
    return grpc::Status::OK;
  }
  grpc::Status KeepLease(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<control::WorkerDirective, control::WorkerReport>*
          stream) override {
    control::WorkerReport report;
    while (stream->Read(&report)) {
      control::WorkerDirective directive;
      directive.mutable_order()->set_number(report.rank());
      stream->Write(directive);
    }
    return grpc::Status::OK;
  }

  std::atomic<int> failures{0};
  std::atomic<int> calls{0};
};

class FakeShardService final : public control::Shard::Service {
 public:
  grpc::Status Ticks(grpc::ServerContext*,
                     grpc::ServerReaderWriter<control::TickAck, control::Tick>*
                         stream) override {
    control::Tick tick;
    while (stream->Read(&tick)) {
      if (tick.clock() == refused_clock)
        return ToGrpc(absl::FailedPreconditionError("fenced"));
      control::TickAck ack;
      ack.set_min_clock(tick.clock());
      stream->Write(ack);
    }
    return grpc::Status::OK;
  }
  // Answers nobody.
  grpc::Status WorkerGone(grpc::ServerContext* context,
                          const control::WorkerGoneRequest*,
                          control::WorkerGoneResponse*) override {
    asked.Notify();
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    return grpc::Status::CANCELLED;
  }
  int64_t refused_clock = -1;
  absl::Notification asked;
};

class Clients : public testing::Test {
 protected:
  void SetUp() override {
    auto started = GrpcServer::Start("127.0.0.1", 0, {&service, &shard});
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    address = "127.0.0.1:" + std::to_string(server->port());
    auto created = CoordinatorClient::Create(address);
    ASSERT_TRUE(created.ok());
    client = *std::move(created);
    auto shard_created = ShardClient::Create(address);
    ASSERT_TRUE(shard_created.ok());
    shard_client = *std::move(shard_created);
  }

  FakeCoordinator service;
  FakeShardService shard;
  std::unique_ptr<GrpcServer> server;
  std::string address;
  std::unique_ptr<CoordinatorClient> client;
  std::unique_ptr<ShardClient> shard_client;
};

TEST_F(Clients, RetryWhatMayPass) {
  service.failures = 2;
  const auto jobs = client->ListJobs();
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  EXPECT_EQ(jobs->jobs(0).job_id(), "a-1");
}

TEST_F(Clients, PassOnWhatDoesNot) {
  const absl::Status status = client->DescribeJob("x-9").status();
  EXPECT_EQ(status, absl::NotFoundError("no job x-9"));
  EXPECT_EQ(service.calls, 1);
}

TEST_F(Clients, GiveSubmissionsAnId) {
  const auto first = client->SubmitJob({});
  const auto second = client->SubmitJob({});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->job_id().size(), 32u);
  EXPECT_NE(first->job_id(), second->job_id());
}

TEST_F(Clients, NobodyThereIsOneLineInTime) {
  const std::string gone = address;
  server.reset();
  const absl::Time begin = absl::Now();
  const absl::Status status = client->ListJobs().status();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("coordinator " + gone));
}

TEST_F(Clients, AServiceThatIsNotThereIsNamed) {
  // Only the shard's service, as on a ps-server that does not coordinate.
  auto other = GrpcServer::Start("127.0.0.1", 0, {&shard});
  ASSERT_TRUE(other.ok());
  auto lost = CoordinatorClient::Create(
      "127.0.0.1:" + std::to_string((*other)->port()));
  const absl::Status status = (*lost)->ListJobs().status();
  EXPECT_TRUE(absl::IsUnimplemented(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("is the address right"));
}

TEST_F(Clients, APortInUseIsNamed) {
  const absl::Status status =
      GrpcServer::Start("127.0.0.1", server->port(), {}).status();
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
  EXPECT_TRUE(absl::IsInvalidArgument(
      GrpcServer::Start("203.0.113.1", 0, {}).status()));
}

TEST_F(Clients, AWatchGivesAllEventsAndEnds) {
  auto watch = client->WatchJob({});
  int64_t next = 0;
  while (!watch->ended())
    if (auto event = watch->Next(absl::Seconds(5)))
      EXPECT_EQ(event->progress().clock(), next++);
  EXPECT_EQ(next, 1000);
  EXPECT_TRUE(watch->status().ok());
}

TEST_F(Clients, AWatchCanBeLeft) {
  auto watch = client->WatchJob({});
  ASSERT_TRUE(watch->Next(absl::Seconds(5)).has_value());
  watch->Cancel();  // far from all events read: no hang
}

TEST_F(Clients, ALeaseCarriesReportsAndDirectives) {
  absl::Mutex mu;
  std::vector<uint64_t> numbers;
  absl::Notification ended;
  absl::Status end;
  auto lease = client->KeepLease(
      [&](const control::WorkerDirective& directive) {
        absl::MutexLock lock(&mu);
        numbers.push_back(directive.order().number());
      },
      [&](absl::Status status) {
        end = status;
        ended.Notify();
      });
  for (int i = 1; i <= 3; ++i) {
    control::WorkerReport report;
    report.set_rank(i);
    EXPECT_TRUE(lease->Send(report).ok());
  }
  lease->Close(absl::Seconds(5));
  ended.WaitForNotification();
  EXPECT_TRUE(end.ok()) << end;
  EXPECT_FALSE(lease->alive());
  EXPECT_FALSE(lease->Send({}).ok());
  absl::MutexLock lock(&mu);
  EXPECT_THAT(numbers, testing::ElementsAre(1, 2, 3));
}

TEST_F(Clients, ALostCoordinatorEndsTheLease) {
  absl::Notification ended;
  absl::Status end;
  auto lease = client->KeepLease([](const control::WorkerDirective&) {},
                                 [&](absl::Status status) {
                                   end = status;
                                   ended.Notify();
                                 });
  ASSERT_TRUE(lease->Send({}).ok());
  server->Shutdown(absl::ZeroDuration());
  ASSERT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_FALSE(end.ok());
}

TEST_F(Clients, AnAbandonedServerIsWaitedForNoLonger) {
  const absl::Time begin = absl::Now();
  std::thread gone([this] {
    shard.asked.WaitForNotification();
    shard_client->Abandon();
  });
  const absl::Status status = shard_client->WorkerGone({});
  gone.join();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("ps-server " + address + " is gone"));
  EXPECT_TRUE(absl::IsUnavailable(shard_client->CloseShard("a-1")))
      << "nor asked again";
  EXPECT_LT(absl::Now() - begin, ClientOptions().deadline);
}

TEST_F(Clients, AnAbandonedServerIsNotTriedAgain) {
  // Nobody there: the call is tried until its deadline.
  auto lonely = ShardClient::Create("127.0.0.1:1");
  ASSERT_TRUE(lonely.ok());
  const absl::Time begin = absl::Now();
  std::thread gone([&lonely] {
    absl::SleepFor(absl::Milliseconds(200));
    (*lonely)->Abandon();
  });
  const absl::Status status = (*lonely)->WorkerGone({});
  gone.join();
  EXPECT_THAT(std::string(status.message()), HasSubstr("is gone"));
  EXPECT_LT(absl::Now() - begin, ClientOptions().deadline);
}

control::Tick TickOf(int64_t clock) {
  control::Tick tick;
  tick.set_clock(clock);
  return tick;
}

TEST_F(Clients, TicksAreAnsweredInOrder) {
  auto ticks = shard_client->Ticks(nullptr);
  EXPECT_EQ(ticks->min_clock(), -1);
  for (int64_t clock = 0; clock < 200; ++clock)
    EXPECT_TRUE(ticks->Send(TickOf(clock)).ok());
  EXPECT_TRUE(ticks->Close(absl::Seconds(10)).ok());
  EXPECT_EQ(ticks->acknowledged(), 200);
  EXPECT_EQ(ticks->min_clock(), 199);
}

TEST_F(Clients, ARefusedTickBreaksTheStream) {
  shard.refused_clock = 1;
  absl::Notification broken;
  absl::Status why;
  auto ticks = shard_client->Ticks([&](absl::Status status) {
    why = status;
    broken.Notify();
  });
  EXPECT_TRUE(ticks->Send(TickOf(0)).ok());
  EXPECT_TRUE(ticks->Send(TickOf(1)).ok());
  ASSERT_TRUE(broken.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_EQ(why, absl::FailedPreconditionError("fenced"));
  EXPECT_EQ(ticks->status(), why);
  EXPECT_EQ(ticks->Send(TickOf(2)), why);
}

TEST_F(Clients, WhoSendsWhileAStreamBreaksHearsWhy) {
  shard.refused_clock = 1;
  ClientOptions options;
  options.max_queued = 1 << 20;  // never full
  auto roomy = ShardClient::Create(address, options);
  ASSERT_TRUE(roomy.ok());
  for (int i = 0; i < 50; ++i) {
    auto ticks = (*roomy)->Ticks(nullptr);
    absl::Status sent = ticks->Send(TickOf(1));
    while (sent.ok()) sent = ticks->Send(TickOf(0));
    EXPECT_EQ(sent, absl::FailedPreconditionError("fenced"));
  }
}

TEST_F(Clients, UnsentTicksAreBounded) {
  ClientOptions options;
  options.max_queued = 4;
  options.connect_wait = absl::Milliseconds(50);
  // Nobody there: nothing leaves the queue but what the writer holds.
  auto lonely = ShardClient::Create("127.0.0.1:1", options);
  ASSERT_TRUE(lonely.ok());
  auto ticks = (*lonely)->Ticks(nullptr);
  absl::Status last;
  for (int i = 0; i < 1000 && last.ok(); ++i) last = ticks->Send(TickOf(i));
  EXPECT_FALSE(last.ok());
}

}  // namespace
}  // namespace cssp
