// franz-go against the embedded broker: `write`, then, after a kill, `read`.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic = "franz"
	group = "franz-group"
	count = 10_000
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func client(broker string, options ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker)}, options...)...))
}

// take reads so many records as a member of the group, each once, and commits them.
func take(ctx context.Context, broker string, wanted int) map[int]bool {
	member := client(broker, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer member.Close()
	found := map[int]bool{}
	for len(found) < wanted {
		fetches := member.PollRecords(ctx, 1_000)
		check(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			number := must(strconv.Atoi(string(record.Value)))
			if found[number] {
				log.Fatalf("%d came twice", number)
			}
			found[number] = true
		})
		check(member.CommitUncommittedOffsets(ctx))
	}
	return found
}

func write(ctx context.Context, broker string) {
	producer := client(broker, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	defer producer.Close()
	must(kadm.NewClient(producer).CreateTopics(ctx, 2, 1, nil, topic))
	records := make([]*kgo.Record, count)
	for number := range records {
		key := []byte(fmt.Sprintf("k%d", number%50))
		records[number] = &kgo.Record{Topic: topic, Key: key, Value: []byte(strconv.Itoa(number))}
	}
	check(producer.ProduceSync(ctx, records...).FirstErr())
	if found := take(ctx, broker, count); len(found) != count {
		log.Fatalf("%d of %d", len(found), count)
	}
}

func read(ctx context.Context, broker string) {
	plain := client(broker)
	defer plain.Close()
	admin := kadm.NewClient(plain)
	lag := must(admin.Lag(ctx, group))[group]
	check(lag.Error())
	if lag.Lag.Total() != 0 {
		log.Fatalf("a lag of %d after everything was committed", lag.Lag.Total())
	}
	check(must(admin.DeleteOffsets(ctx, group, kadm.TopicsSet{topic: {0: {}, 1: {}}})).Error())
	if found := take(ctx, broker, count); len(found) != count {
		log.Fatalf("%d of %d", len(found), count)
	}
	must(admin.CreatePartitions(ctx, 2, topic))
	if partitions := must(admin.ListTopics(ctx, topic))[topic].Partitions; len(partitions) != 4 {
		log.Fatalf("%d partitions", len(partitions))
	}
	ends := must(admin.ListEndOffsets(ctx, topic))
	must(admin.DeleteRecords(ctx, ends.Offsets()))
	starts := must(admin.ListStartOffsets(ctx, topic))
	ends.Each(func(end kadm.ListedOffset) {
		if start, _ := starts.Lookup(topic, end.Partition); start.Offset != end.Offset {
			log.Fatalf("partition %d begins at %d, not at %d", end.Partition, start.Offset, end.Offset)
		}
	})
	must(admin.DeleteGroups(ctx, group))
	must(admin.DeleteTopics(ctx, topic))
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	map[string]func(context.Context, string){"write": write, "read": read}[os.Args[1]](ctx, os.Args[2])
	fmt.Println("franz-go", os.Args[1], "ok")
}
