package Nightlight::Oracle;

# Nightlight and a real Prometheus side by side, asked the same.
#
#   my $o = Nightlight::Oracle->new($t) or plan(skip_all => $@);
#   $o->write($body);                              # remote_write, to all
#   my $x = $o->nightlight('query', query => 'up', time => 1);
#   my $y = $o->prometheus('query', query => 'up', time => 1);
#   $o->{mode} = 'delayed';    # those with delayed removal of metric names
#   $o->{has}{anchored}        # what this Prometheus knows of the language
#
# The Prometheus is that of PATH, TEST_PROMETHEUS or TEST_PROMETHEUS35; 3.0 at
# least.  Texts that later versions word otherwise are brought to one form:
# normal().

use warnings;
use strict;

use Nightlight::Test;

our $FEATURES = 'nightlight_promql_features experimental-functions duration-expr';

# The two Prometheis, and where Nightlight answers like them.
our %PREFIX = (prom => '', delayed => '/delayed');

sub new {
    my ($class, $t) = @_;
    my $prometheus = $ENV{TEST_PROMETHEUS35} || $ENV{TEST_PROMETHEUS}
        || $t->program('prometheus');
    $@ = 'no prometheus';
    return unless $prometheus;
    my ($version) = `$prometheus --version 2>&1` =~ /version (\d+\.\d+)/;
    $@ = "prometheus is older than 3";
    return if !$version || $version < 3;
    my $self = bless { t => $t, version => $version, mode => 'prom', conn => {} },
        $class;
    $t->write_conf(main => 'worker_processes 1;', server => "$FEATURES;",
        locations => <<"EOF");
        location = /api/v1/write  { nightlight_write main; }
        location /api/v1/         { nightlight_query main; }
        location /delayed/api/v1/ { nightlight_query main;
                                    $FEATURES delayed-name-removal; }
        location /-/              { nightlight_status main; }
EOF
    $t->run();
    $t->write_file('prometheus.yml', "global: {scrape_interval: 1m}\n");
    $self->_start($prometheus, $_) for sort keys %PREFIX;
    for my $mode (sort keys %PREFIX) {
        $t->wait_for(sub { my $r = eval { $t->http('GET', '/-/ready', port => $mode) };
            $r && $r->{status} == 200 }, 'prometheus ready', 60)
            or Test::More::BAIL_OUT($t->read_file('logs/prometheus.log'));
    }
    $self->_probe();
    return $self;
}

sub _start {
    my ($self, $prometheus, $mode) = @_;
    my $t = $self->{t};
    $t->spawn($prometheus, '--config.file=' . $t->dir . '/prometheus.yml',
        '--storage.tsdb.path=' . $t->dir . "/$mode",
        '--web.listen-address=127.0.0.1:' . $t->port($mode),
        '--storage.tsdb.retention.time=100y',
        '--web.enable-remote-write-receiver', '--log.level=error',
        '--enable-feature=promql-experimental-functions,promql-duration-expr'
            . ($mode eq 'delayed' ? ',promql-delayed-name-removal' : ''));
}

# Over connections that are kept.
sub _ask {
    my ($self, $port, $path, %p) = @_;
    my $body = Nightlight::Test::form(%p);
    for my $try (1 .. 2) {
        my $s = $self->{conn}{$port} ||= $self->{t}->connect($port);
        my $r = Nightlight::Test::exchange($s, Nightlight::Test::request_bytes(
            'POST', $path, { Connection => 'keep-alive', 'Content-Type' =>
            'application/x-www-form-urlencoded' }, $body));
        return $r if $r->{status};
        delete $self->{conn}{$port};
    }
    return { status => 0, body => '' };
}

sub prometheus {
    my ($self, $path, %p) = @_;
    my $r = $self->_ask($self->{mode}, "/api/v1/$path", %p);
    $r->{body} = normal($r->{body});
    return $r;
}

sub nightlight {
    my ($self, $path, %p) = @_;
    my $r = $self->_ask('http', "$PREFIX{$self->{mode}}/api/v1/$path", %p);
    $r->{body} = normal($r->{body});
    return $r;
}

# A snappy body into all three; the statuses.
sub write {
    my ($self, $body) = @_;
    my $t = $self->{t};
    return map { $t->write_raw($body, port => $_)->{status} } 'http',
        sort keys %PREFIX;
}

# Which parts of the language this Prometheus has.
sub _probe {
    my ($self) = @_;
    my @probes = (map({ [$_, "$_(m[1m])"] } qw(first_over_time mad_over_time
            ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time
            ts_of_min_over_time rate)),
        ['double_exponential_smoothing', 'double_exponential_smoothing(m[1m], .1, .1)'],
        ['sort_by_label', 'sort_by_label(m, "a")'], ['info', 'info(m)'],
        ['histogram_quantiles', 'histogram_quantiles(m, "q", .1)'],
        ['step', 'step()'], ['max_of', 'max_of(1, 2)'], ['duration_expr', 'm[1m * 2]'],
        ['anchored', 'rate(m[1m] anchored)'], ['fill', 'm + on(a) fill(0) m']);
    my $has = $self->{has} = {};
    for my $p (@probes) {
        $has->{$p->[0]} =
            $self->_ask('prom', '/api/v1/query', query => $p->[1])->{status} == 200;
    }
    $has->{$_} = $has->{rate} for qw(avg_over_time count_over_time last_over_time
        max_over_time min_over_time present_over_time stddev_over_time
        stdvar_over_time sum_over_time changes resets deriv delta idelta irate
        increase absent_over_time histogram_avg);
}

# Texts of 3.5 that are worded differently since, brought to one form.
sub normal {
    my ($b) = @_;
    return $b unless $b =~ /"(?:warnings|infos|error)":/;
    # sort in range queries has no warning in 3.5
    $b =~ s/"PromQL warning: sort is ineffective[^"]*"(,?)//g;
    $b =~ s/,"warnings":\[\]//;
    $b =~ s/,\](?=[,}])/]/g;
    # details of this note are newer; names are shown or not with the name
    $b =~ s/(#histogram_quantile\))[^"\\]*?(?: for metric name \\"(?:[^"\\]|\\[^"])*\\")?[^"\\]*?( \(\d+:\d+\)")/$1$2/g;
    $b =~ s/(bucket label \\"le\\" is missing or has a malformed value of \\"(?:[^"\\]|\\[^"])*\\") for metric name \\"(?:[^"\\]|\\[^"])*\\"/$1/g;
    $b =~ s/(?:Scalar value|Ratio value) NaN (?:overflows int64|is NaN)|Ratio value is NaN/Parameter value is NaN/;
    $b =~ s/duration is NaN or infinite/duration is out of range/;
    # the two series come in another order
    $b =~ s/(operation: \[)(\{.*\}), (\{.*\})(\];many)/$1 . join(', ', sort $2, $3) . $4/e;
    # parser
    $b =~ s/\\"\\u003cItem \d+\\u003e\\" (?=\\u003cop:)//;
    $b =~ s/subquery or range selector, expected number, duration, step\(\), or range\(\)/subquery selector, expected number or duration/;
    $b =~ s/expected number, duration, step\(\), or range\(\)/expected number or duration/;
    $b =~ s/expected number, duration, step\(\), range\(\), or/expected number or duration or/;
    return $b;
}

1;
