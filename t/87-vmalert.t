#!/usr/bin/perl
# vmalert evaluates its rules against us, writes results and the state of its
# alerts back by remote_write, restores the state when it is started again,
# and fills in the past in its replay mode.
#
# TEST_VMALERT names a vmalert other than that of PATH.
use strict;
use warnings;
use JSON::PP;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Peers qw(peer capture ready sink requests snippet
    commands);

my $t = Nightlight::Test->new();
my $vmalert = peer($t, 'vmalert');
plan(skip_all => 'no vmalert') unless $vmalert;

# vmalert restores its state by a function that PromQL does not have, but by
# another name (1.79 asked for last_over_time)
$t->write_conf(http => snippet($t, 'vmalert-map'),
    locations => <<'EOF2' . snippet($t, 'vmalert-location'));
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOF2
$t->run();
my $dir = $t->dir;

# what vmalert's notifier would be
sink($t, 'alerts', sub { (200, '{}') });

$t->write_file('rules.yml', <<'EOF2');
groups:
- name: queues
  interval: 1s
  rules:
  - record: job:depth:sum
    expr: sum by (job) (depth)
    labels: {by: rule}
  - alert: Deep
    expr: depth > 100
    for: 2s
    labels: {severity: page}
    annotations: {summary: '{{ $value }} in {{ $labels.queue }}'}
  - alert: DeepForLong
    expr: depth > 100
    for: 1h
  # of what the first rule wrote
  - alert: Busy
    expr: job:depth:sum > 150
EOF2

my ($cmd) = commands($t, 'vmalert', 'rules.yml' => "$dir/rules.yml",
    'alertmanager:9093' => '127.0.0.1:' . $t->port('alerts'));
# older ones do not have the flag, and evaluate at once
my $delay = join('', capture($t, [$vmalert, '-help'])) =~ /-rule\.evalDelay/;
my @args = ((grep { $delay || !/^-rule\.evalDelay/ } @$cmd),
    '-remoteWrite.flushInterval=200ms',
    '-httpListenAddr=127.0.0.1:' . $t->port('vmalert'));

my $pid;

sub start {
    $pid = $t->spawn($vmalert, @args);
    return ready($t, 'vmalert', '/health');
}

sub end {
    kill 'INT', $pid;
    $t->wait_for(sub { waitpid($pid, POSIX::WNOHANG) == $pid }, 'vmalert ends');
    $t->{pids} = [grep { $_ != $pid } @{$t->{pids}}];
}

# the two queues, now: one is over the limit
sub depths {
    my ($a, $b) = @_;
    my $ms = int(time() * 1000);
    return $t->write({ __name__ => 'depth', job => 'x', queue => 'a' },
        [$ms, $a], { __name__ => 'depth', job => 'x', queue => 'b' }, [$ms, $b]);
}

# What is there of an alert just now: state => labels.
sub alerts {
    my ($name) = @_;
    my $r = $t->query("ALERTS{alertname=\"$name\"}")->{result};
    return { map { $_->{metric}{alertstate} => $_->{metric} } @$r };
}

my $begin = time();
is(depths(120, 40), 204, 'samples');
ok(start(), 'vmalert runs') or diag($t->read_file('logs/vmalert.log'));

# ---- a recording rule ----

my $r;
ok($t->wait_for(sub {
    $r = $t->query('job:depth:sum')->{result};
    return @$r;
}, 'a recorded series'), 'a recording rule is written back')
    or diag($t->read_file('logs/vmalert.log'));
is($r->[0]{value}[1], '160', 'its value');
is($r->[0]{metric}{$_->[0]}, $_->[1], "its label $_->[0]")
    for ['job', 'x'], ['by', 'rule'], ['__name__', 'job:depth:sum'];

# ---- an alert: pending, firing, told, resolved ----

my %seen;
ok($t->wait_for(sub {
    $seen{$_} = 1 for keys %{alerts('Deep')};
    return $seen{firing};
}, 'Deep fires'), 'an alert fires');
my %all = map { $_->{metric}{alertstate} => 1 }
    @{$t->query('ALERTS{alertname="Deep"}[1h]')->{result}};
is_deeply([sort keys %all], [qw(firing pending)], 'after it was pending');
ok($t->wait_for(sub { join(' ', sort keys %{alerts('Deep')}) eq 'firing' },
    'the end of pending'), 'which it is no more: its series ended');
my $l = alerts('Deep')->{firing};
is("$l->{queue} $l->{job} $l->{severity}", 'a x page', 'with its labels');
ok($t->wait_for(sub { alerts('Busy')->{firing} }, 'Busy fires'),
    'a rule about what another rule wrote');
ok(alerts('DeepForLong')->{pending}, 'one that has to wait is pending');

my $sent;
ok($t->wait_for(sub {
    my @all = map { @{JSON::PP->new->utf8->decode($_->{body})} }
        grep { $_->{uri} eq '/api/v2/alerts' } requests($t, 'alerts');
    ($sent) = grep { $_->{labels}{alertname} eq 'Deep' } @all;
    return $sent;
}, 'a notification'), 'the notifier is told');
is($sent->{annotations}{summary}, '120 in a', 'with what the query answered');

# ---- a second life: the state comes from us ----

my $active = $t->value('ALERTS_FOR_STATE{alertname="DeepForLong"}');
cmp_ok($active, '>=', int $begin, 'since when it is active');
end();
my $stopped = time();
is(depths(130, 40), 204, 'still deep');
# the seconds of its state are whole: a new one would be seen
$t->wait_for(sub { time() > int($stopped) + 2 && time() > $active + 2 },
    'later seconds');
ok(start(), 'vmalert runs again');
my $state;
ok($t->wait_for(sub {
    my $x = eval { JSON::PP->new->utf8->decode(
        $t->http('GET', '/api/v1/alerts', port => 'vmalert')->{body}) };
    ($state) = grep { $_->{name} eq 'DeepForLong' } @{$x->{data}{alerts} || []};
    return $state && $t->read_file('logs/vmalert.log') =~ /restor/;
}, 'state'), 'it has read its state')
    or diag($t->read_file('logs/vmalert.log'));
# with each evaluation it says since when; the first after the start did not
# know, and is over
ok($t->wait_for(sub {
    return $t->value('timestamp(ALERTS_FOR_STATE{alertname="DeepForLong"})')
        > $stopped + 1
        && $t->value('ALERTS_FOR_STATE{alertname="DeepForLong"}') == $active;
}, 'the same state'), 'the alert is active since when it was');
ok($t->wait_for(sub {
    return ($t->value('timestamp(ALERTS{alertname="Deep",'
        . 'alertstate="firing"})') || 0) > $stopped + 1;
}, 'Deep fires again'), 'the firing one fires on');
is(substr($state->{activeAt}, 0, 19),
    strftime('%Y-%m-%dT%H:%M:%S', gmtime $active), 'vmalert says so too');

is(depths(1, 2), 204, 'not deep any more');
ok($t->wait_for(sub {
    return !grep { keys %{alerts($_)} } qw(Deep DeepForLong Busy);
}, 'no alerts'), 'alerts are resolved, and their series end');
ok($t->wait_for(sub {
    return ($t->value('job:depth:sum') || 0) == 3;
}, 'a new sum'), 'the recorded series goes on');
ok($t->wait_for(sub {
    my ($last) = grep { $_->{labels}{alertname} eq 'Deep' }
        map { reverse @{JSON::PP->new->utf8->decode($_->{body})} }
        reverse requests($t, 'alerts');
    my $end = $last->{endsAt} =~ s/(?:\.\d+)?Z?$//r;
    return $end le strftime('%Y-%m-%dT%H:%M:%S', gmtime(time() + 1));
}, 'an end'), 'the notifier is told of the end');
end();
unlike($t->read_file('logs/vmalert.log'), qr/\terror\t/,
    'vmalert had no reason to complain');
is($t->metric('nightlight_write_requests_refused_total'), '0',
    'nothing was refused');

# ---- replay: rules over the past ----

my $t0 = int($begin / 60) * 60 - 7200;
my @past = map { [($t0 + 10 * $_) * 1000, $_] } 0 .. 60;
is($t->write({ __name__ => 'past', job => 'x' }, @past), 204, 'two hours ago');
$t->write_file('replay.yml', <<'EOF2');
groups:
- name: replay
  interval: 10s
  rules:
  - {record: 'job:past:double', expr: 'past * 2'}
  - {record: 'job:past:rate', expr: 'sum by (job) (rate(past[1m]))'}
  - {alert: Past, expr: 'past >= 50', for: 20s}
EOF2
my $utc = sub { strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) };
my ($replay) = commands($t, 'vmalert-replay', 'rules.yml' => "$dir/replay.yml",
    '2026-11-01T00:00:00Z' => $utc->($t0),
    '2026-11-02T00:00:00Z' => $utc->($t0 + 600));
my ($code, $out, $err) = capture($t, [$vmalert, @$replay,
    '-remoteWrite.flushInterval=200ms', '-replay.rulesDelay=400ms',
    '-replay.maxDatapointsPerQuery=25', '-replay.disableProgressBar']);
is($code, 0, 'vmalert replays') or diag($out, $err);
my $at = sub { $t->query("$_[0]\[15m]", time => $t0 + 600)->{result} };
$t->wait_for(sub { @{$at->('job:past:double')} && @{$at->('job:past:rate')} },
    'replayed series');
is_deeply($at->('job:past:double')->[0]{values}, [map {
    [$t0 + 10 * $_, '' . 2 * $_] } 0 .. 60], 'every point of a rule');
is_deeply($at->('job:past:rate')->[0]{values},
    $t->query('sum by (job) (rate(past[1m]))', start => $t0,
        end => $t0 + 600, step => 10)->{result}[0]{values},
    'and of a rate, as a range query answers it');
my %past = map { $_->{metric}{alertstate} => [map { ($_->[0] - $t0) / 10 }
    @{$_->{values}}] } @{$at->('ALERTS{alertname="Past"}')};
is(scalar @{$past{firing} || []}, 9, 'an alert of the past');
is($past{firing}[0], 52, 'fires after its time of waiting');

$t->done();
