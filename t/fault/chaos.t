#!/usr/bin/perl
# Tenants write, delete and ask while processes die by kill -9, configurations
# change the format of blocks, heads are flushed and snapshots made, and one
# tenant is deleted and comes again all the time.  Afterwards every acknowledged
# sample is there with its value, nothing that an acknowledged delete took, and
# nobody was ever shown what another had written.  Part of `make crash`, not of
# `make test`.
#
# TEST_NIGHTLIGHT_SECONDS: how long.  NLT_TEST_SEED repeats the choices; what
# they meet depends on the machine.
use strict;
use warnings;
use utf8;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;

# Sleeps set a pace, or a moment by chance; nothing is waited for by them.

my $seconds = $ENV{TEST_NIGHTLIGHT_SECONDS} || 30;
my $seed = defined $ENV{NLT_TEST_SEED} ? $ENV{NLT_TEST_SEED} : int(time());
my ($SERIES, $STEP, $ASKERS) = (12, 10, 8);
my @tenants = ('a', 'b', 'é"}{,=\\', '..');
my $t = Nightlight::Test->new();
my $json = JSON::PP->new->utf8;
my $begin = int(time()) - 26 * 3600;
my ($format, $workers) = ('portable', 2);

note("seed: NLT_TEST_SEED=$seed");
srand($seed);

sub configure {
    $t->write_conf(
        main => "worker_processes $workers;\nworker_shutdown_timeout 5s;",
        store => 'memory=48m retention=10y tenants=200 wal_sync=100ms '
            . "block_format=$format",
        locations => <<'EOF');
        nightlight_query_concurrency 1 queue=200;
        location = /api/v1/write {
            nightlight_write main;
            nightlight_tenant $http_x_tenant;
        }
        location /api/v1/ {
            nightlight_query main;
            nightlight_tenant $http_x_tenant;
        }
        location /api/v1/admin/ {
            nightlight_admin main;
            nightlight_tenant $http_x_tenant;
        }
        location /all/api/v1/admin/ { nightlight_admin main; }
        location /-/ { nightlight_status main; }
EOF
}

*series_pb = \&Nightlight::Test::series_pb;
sub bytes_of { my ($text) = @_; utf8::encode($text); return $text }
sub at { my ($k) = @_; return $begin + $k * $STEP }

# An answer, or undef when nobody answered.
sub ask {
    my ($method, $uri, $tenant, %p) = @_;
    my %headers = defined $tenant ? ('X-Tenant' => bytes_of($tenant)) : ();
    my $r = eval {
        $t->http($method, $uri, headers => \%headers, timeout => 60, %p);
    };
    return $r && $r->{status} ? $r : undef;
}

sub uri { my ($path, %p) = @_; return "/api/v1/$path?" . Nightlight::Test::form(%p) }

sub write_as {
    my ($tenant, $pb) = @_;
    my $r = eval {
        $t->write_pb($pb, headers => { 'X-Tenant' => bytes_of($tenant) },
            timeout => 40);
    };
    return $r ? $r->{status} : 0;
}

sub note_in {
    my ($file, $text) = @_;
    open(my $f, '>>', "$t->{dir}/$file") or die "$file: $!";
    syswrite($f, "$text\n");
    close $f;
}

sub lines { my ($file) = @_; return split /\n/, $t->read_file($file) }

# ---- who writes, deletes, asks: processes of their own ----

my ($end, $last);

sub beside {
    my ($what, @args) = @_;
    my $mine = int rand(1 << 30);
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    return $pid if $pid;
    srand($mine);
    $SIG{TERM} = 'DEFAULT';
    eval { $what->(@args); 1 } or note_in('faults', "stopped: $@");
    POSIX::_exit(0);
}

# Step k of a tenant: sample k * 100 + i of series i.  Some come late.
sub writer {
    my ($n) = @_;
    my ($k, @late) = (0);
    while (time() < $end && at($k) < time()) {
        my $step = @late && rand() < 0.2 ? shift @late : $k++;
        if ($step == $k - 1 && rand() < 0.02) {
            push @late, $step;
            next;
        }
        my $pb = join '', map {
            series_pb([['__name__', 'm'], ['i', "$_"], ['who', $tenants[$n]]],
                [at($step) * 1000, $step * 100 + $_])
        } 1 .. $SERIES;
        my $status = 0;
        until ($status == 204 || time() > $last) {
            $status = write_as($tenants[$n], $pb);
            note_in('faults', "write $status") if $status !~ /^(?:0|204|503)$/;
            sleep 0.02 if $status != 204;
        }
        note_in("taken.$n", $step) if $status == 204;
    }
}

# Deletes ranges of series 1; what was taken before it is gone afterwards.
sub deleter {
    while (time() < $end) {
        sleep 0.2 + rand 0.4;
        my $n = int rand @tenants;
        my @taken = lines("taken.$n") or next;
        my $from = int rand $taken[-1] + 1;
        my $to = $from + int rand 20;
        note_in("tried.$n", "$from $to");
        my $r = ask('POST', uri('admin/tsdb/delete_series',
            'match[]' => 'm{i="1"}', start => at($from), end => at($to)),
            $tenants[$n], body => '') or next;
        note_in("deleted.$n", "$from $to " . scalar @taken)
            if $r->{status} == 204;
        note_in('faults', "delete $r->{status} $r->{body}")
            if $r->{status} !~ /^(?:204|503)$/;
    }
}

# A tenant that is deleted every third time: what it had is not there then.
sub comes_and_goes {
    for (my $n = 1; time() < $end; $n++) {
        write_as('goes', series_pb([['__name__', 'm'], ['i', '3'],
            ['who', 'goes'], ['n', "$n"]], [int(time() * 1000), $n]));
        next if $n % 3;
        my $r = ask('POST', '/all/api/v1/admin/tenants/delete?name=goes',
            undef, body => '');
        next unless $r && $r->{status} == 204;
        $r = ask('GET', uri('query', query => 'm'), 'goes');
        note_in('faults', "not gone: $r->{body}")
            if $r && $r->{status} == 200 && $r->{body} =~ /who/;
        sleep 0.05;
    }
}

my @questions = (
    [query => 'm{i="3"}'], [query => 'm{i="2"}[5m]'], [query => 'count(m)'],
    [query => 'sum by (who) (m)'], [query => 'count_over_time({i!=""}[30h])'],
    [query_range => 'm'],
    [query_range => 'sum by (who) (sum_over_time(m[2h:10s]))'],
    [series => 'm'], ['label/who/values'], ['labels'], ['status/tsdb'],
    [query_exemplars => 'm'],
);

sub asker {
    my %seen;
    while (time() < $end) {
        my $tenant = $tenants[rand @tenants];
        my ($path, $expr) = @{$questions[rand @questions]};
        my $when = $begin + int rand 26 * 3600;
        my %p = $path eq 'query' ? (time => $when)
              : (start => $when - 3600, end => $when);
        $p{$path eq 'series' ? 'match[]' : 'query'} = $expr if defined $expr;
        $p{step} = 15 if $path eq 'query_range';
        if (rand() < 0.15) {
            my $s = eval { $t->connect() } or next;
            Nightlight::Test::send_all($s, Nightlight::Test::request_bytes(
                'GET', uri($path, %p), { 'X-Tenant' => bytes_of($tenant) }));
            sleep rand 0.03;
            close $s; # in the middle of it, or of the answer
            next;
        }
        my $r = ask('GET', uri($path, %p), $tenant) or next;
        $seen{$r->{status}}++;
        if ($r->{status} == 200) {
            look_at($path, $expr, $tenant, $r);
        } elsif ($r->{status} != 503) {
            note_in('faults', "$path $r->{status} $r->{body}");
        }
    }
    note_in('asked', join ' ', map { "$_:$seen{$_}" } sort keys %seen);
}

# Has an answer what another wrote, or a wrong value?
sub look_at {
    my ($path, $expr, $tenant, $r) = @_;
    my $j = eval { $json->decode($r->{body}) };
    if (!$j) {
        # one that was being sent when its worker was killed is cut off
        note_in('faults', "no JSON: $path $r->{body}")
            if ($r->{headers}{'content-length'} // -1) == length $r->{body};
        return;
    }
    my $d = $j->{data};
    my $series = ref $d eq 'HASH' ? $d->{result} : undef;
    my @who = $path eq 'label/who/values' ? @$d
            : $path eq 'series' ? map { $_->{who} } @$d
            : map { $_->{metric}{who} // () } @{$series || []};
    note_in('faults', bytes_of("$tenant was shown ") . $r->{body})
        if grep { $_ ne $tenant } @who;
    return unless ($expr // '') =~ /^m\{i="(\d)"/;
    for my $s (@$series) {
        for (@{$s->{values} || []}) {
            my $want = ($_->[0] - $begin) / $STEP * 100 + $1;
            note_in('faults', "value @$_, want $want") if $_->[1] != $want;
        }
    }
}

# ---- trouble ----

my (%did, @snapshots);
my $left = 3; # deaths of everything

my @trouble = (
    [0.30, worker => sub { $t->kill9_worker() if $t->workers() }],
    [0.40, helper => sub { $t->kill9_helper() if $t->helpers() }],
    [0.60, reload => sub {
        $format = $format eq 'dense' ? 'portable' : 'dense';
        $workers = 1 + int rand 3;
        configure();
        kill 'HUP', $t->master;
    }],
    [0.80, flush => sub { ask('POST', '/-/flush', undef, body => '') }],
    [0.90, snapshot => sub {
        my $r = ask('POST', '/all/api/v1/admin/tsdb/snapshot', undef,
            body => '') or return;
        note_in('faults', "snapshot $r->{status} $r->{body}")
            if $r->{status} !~ /^(?:200|503)$/;
        push @snapshots, $json->decode($r->{body})->{data}{name}
            if $r->{status} == 200;
    }],
    [0.95, drain => sub {
        ask('POST', "/all/api/v1/admin/$_", undef, body => '')
            for qw(drain resume);
    }],
    [1, everything => sub {
        return if $left-- <= 0;
        $t->kill9_all();
        # and the head too: everything is read from the logs
        unlink glob "$t->{dir}/head/*" if $left == 1;
        $t->run(ready => 0);
    }],
);

# ---- what is there ----

sub check {
    my ($what) = @_;
    for my $n (0 .. $#tenants) {
        my @taken = lines("taken.$n");
        my (%when, %may_be_gone);
        @when{@taken} = 1 .. @taken;
        for (lines("tried.$n")) {
            my ($from, $to) = split ' ';
            @may_be_gone{$from .. $to} = ();
        }
        my ($lost, $wrong, $back, $seen) = (0, 0, 0, 0);
        for my $i (1 .. $SERIES) {
            my $r = ask('GET', uri('query', query => qq(m{i="$i"}[30h]),
                time => $begin + 27 * 3600), $tenants[$n]);
            my $result = $json->decode($r->{body})->{data}{result};
            my %v = map { ($_->[0] - $begin) / $STEP => $_->[1] }
                map { @{$_->{values}} } @$result;
            $wrong += @$result > 1;
            $wrong += grep { $v{$_} != $_ * 100 + $i } keys %v;
            $seen += keys %v;
            $lost += grep { !exists $v{$_}
                && !($i == 1 && exists $may_be_gone{$_}) } @taken;
            next unless $i == 1;
            for (lines("deleted.$n")) {
                my ($from, $to, $before) = split ' ';
                $back += grep { exists $v{$_} && $when{$_}
                    && $when{$_} <= $before } $from .. $to;
            }
        }
        is("$lost lost, $wrong wrong, $back back", '0 lost, 0 wrong, 0 back',
            "$what, tenant $n: " . @taken . " requests, $seen samples, "
                . lines("deleted.$n") . ' deletes');
    }
}

configure();
$t->run();
$end = time() + $seconds;
$last = $end + 20;
my @beside = ((map { beside(\&writer, $_) } 0 .. $#tenants),
    beside(\&deleter), beside(\&comes_and_goes),
    map { beside(\&asker) } 1 .. $ASKERS);
while (time() < $end) {
    sleep 0.2 + rand 0.8;
    my $x = rand();
    my ($which) = grep { $x < $_->[0] } @trouble;
    $did{$which->[1]}++;
    $which->[2]->();
}
waitpid($_, 0) for @beside;
ask('POST', '/all/api/v1/admin/resume', undef, body => '');
note(join ', ', map { "$_ $did{$_}" } sort keys %did);
note(join '; ', lines('asked'));
ok($t->wait_for(sub { $t->is_ready() }, 'ready', 60), 'ready again');
is($t->read_file('faults'), '', 'nobody was shown anything that is not so');
cmp_ok(scalar lines("taken.$_"), '>', 0, "tenant $_ could write") for 0 .. 3;

check('as it is');
my $r = ask('POST', '/all/api/v1/admin/tsdb/snapshot', undef, body => '');
is($r->{status}, 200, 'a snapshot, and everything is in blocks');
check('in blocks');
SKIP: {
    my $promtool = $t->program('promtool') or skip 'no promtool', 1;

    push @snapshots, $json->decode($r->{body})->{data}{name};
    my @bad = grep {
        system("$promtool tsdb list $t->{dir}/store/snapshots/$_ "
            . ">> $t->{dir}/promtool.out 2>&1")
    } @snapshots;
    is("@bad", '', @snapshots . ' snapshots that promtool opens')
        or diag($t->read_file('promtool.out'));
}
$t->stop();
$t->run();
check('after a restart');
ok($t->stop(), 'stopped');
unlink glob "$t->{dir}/head/*";
$t->run();
check('without the head');

$t->expect_log(qr/exited on signal/, qr/signal 9/, qr/shared memory zone/,
    qr/open socket #\d+ left/);
$t->done();
